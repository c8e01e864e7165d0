package chaos

// Torn tells whether a connection has lost something that is not closed yet.
func Torn(p *Proxy) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		if l.torn {
			return true
		}
	}
	return false
}
