package chaos

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
)

// Server is one that processes talk to, and that a program controls: it is called with an action (kill, pause, resume, up)
// and the server's name.
type Server struct {
	Name    string
	Control string
	turn    sync.Mutex
}

func (s *Server) do(ctx context.Context, action string) error {
	cmd := exec.CommandContext(ctx, s.Control, action, s.Name)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s %s %s: %w: %s", s.Control, action, s.Name, err, strings.TrimSpace(said.String()))
	}
	return nil
}

// suffer kills or pauses the server, and mends it.
func (s *Server) suffer(ctx context.Context, f *Fault) error {
	s.turn.Lock()
	defer s.turn.Unlock()
	begin, mend := "pause", "resume"
	if f.Kind == ServerKilled {
		begin, mend = "kill", "up"
	}
	if err := s.do(ctx, begin); err != nil {
		return err
	}
	pause(ctx, f.Lasts)
	return s.do(context.WithoutCancel(ctx), mend)
}
