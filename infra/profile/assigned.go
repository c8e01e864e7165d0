package profile

// assigned tells whether a shard's messages come to this process: its read models look more rarely at the others.
func (s *System) assigned(shard int) bool {
	t := s.transport.Load()
	if t == nil {
		return true
	}
	spread, is := (*t).(interface{ assigned(shard int) bool })
	return !is || spread.assigned(shard)
}

func (c *carriers) assigned(shard int) bool { return c.feed == nil || c.feed.Assigned(shard) }
