package domain

// An exception lets pass what a limit would refuse: for a code, a scope, a number of uses, until a moment. It is
// granted by support with a reason, and a grant that needed it says so and uses it up.
type exception struct {
	id        string
	code      string
	scope     Scope
	uses      int
	usesLeft  int
	grantedAt instant
	expiresAt instant // 0: never
	withdrawn bool
	closedAt  instant // used up or withdrawn
	reason    Reason
}

func (x *exception) size() int {
	return 224 + len(x.id) + len(x.scope.ID) + len(x.reason.Text) + len(x.reason.Case)
}

func (x *exception) open(now instant) bool {
	return x.closedAt == 0 && (x.expiresAt == 0 || now < x.expiresAt)
}

// rememberedUntil is when the state may forget the exception, so that support sees for a while what became of it.
func (x *exception) rememberedUntil() instant {
	end := x.closedAt
	if end == 0 {
		end = x.expiresAt
	}
	if end == 0 {
		return endOfTime
	}
	return end.plus(RememberDeviceUses)
}

// covers tells whether the exception's scope holds what is asked for. An empty scope is the whole customer.
func (x *exception) covers(s *Subject) bool {
	switch x.scope.Kind {
	case "", ScopeCustomer:
		return true
	case ScopeDevice:
		return x.scope.ID == s.DeviceID
	case ScopeTitle:
		return x.scope.ID == s.TitleID
	case ScopeStudio:
		return x.scope.ID == s.Studio
	case ScopeLicense:
		return x.scope.ID == s.LicenseID
	}
	return false
}

// exceptionFor is the open exception that lets a code pass for a subject: the one that expires first, so that a later
// one is left for later; of equals the one that was granted first.
func (c *Customer) exceptionFor(code string, s *Subject, now instant) *exception {
	var best *exception
	for _, x := range c.exceptions {
		if x.code != code || !x.open(now) || !x.covers(s) {
			continue
		}
		if best == nil || x.expiresAt != 0 && (best.expiresAt == 0 || x.expiresAt < best.expiresAt) {
			best = x
		}
	}
	return best
}

func (c *Customer) exceptionAt(id string) int {
	for i, x := range c.exceptions {
		if x.id == id {
			return i
		}
	}
	return -1
}
