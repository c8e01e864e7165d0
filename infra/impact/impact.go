// Package impact lets the command side ask the query side whom a change would touch: the two know nothing of each other.
package impact

import (
	"context"
	"time"

	"carryon/command"
	"carryon/domain"
	"carryon/query"
)

// Over makes the command side's port of the query side's answer.
func Over(q query.Impact) command.Impact { return impact{q} }

type impact struct{ query query.Impact }

// WithdrawalImpact tells whose active licences for a title would end earlier.
func (i impact) WithdrawalImpact(ctx context.Context, title string, countries []string, from time.Time) (command.Touched, error) {
	t, err := i.query.Withdrawal(ctx, title, countries, from)
	return command.Touched(t), err
}

// PolicyImpact tells who would be over a limit that they are not over now.
func (i impact) PolicyImpact(ctx context.Context, policy *domain.Policy) (command.Touched, error) {
	t, err := i.query.Policy(ctx, policy)
	return command.Touched(t), err
}
