package console

import "testing"

func TestTheWayBackIsAPathOfOurs(t *testing.T) {
	t.Parallel()
	for to, want := range map[string]string{
		"/search?q=a": "/search?q=a", "": "/", "search": "/", "//evil.com": "/", "https://evil.com": "/",
		"/\t/evil.com": "/", "/\n/evil.com": "/", "/\\evil.com": "/", "/\x00/evil.com": "/", "/\u0085/evil.com": "/",
	} {
		if got := ownPath(to); got != want {
			t.Errorf("back to %q leads to %q, want %q", to, got, want)
		}
	}
}
