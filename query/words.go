package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"carryon/domain"
)

// opener opens one customer's personal words, and stops trying once the key is known to be gone.
type opener struct {
	words    Words
	customer string
	key      WordsOpener // nil: not taken yet
	veiled   bool        // for one who sees names only
	erased   bool
	away     bool // what opens the words could not be reached: it is not tried again for this answer
}

// An answer is given also when the words in it can't be opened; waiting for them would hold up everything else.
const (
	wordsAway    = "(words can't be opened now)"
	wordPatience = 2 * time.Second
)

func (p *Ports) wordsOf(by Caller, customer string) *opener {
	return &opener{words: p.Words, customer: customer, veiled: by.Actor.Role == domain.RoleDevice}
}

// reason returns the words of a reason. They are support's, written for support: a device is told the code, and no words.
func (o *opener) reason(ctx context.Context, sealed domain.Sealed) (words string, erased bool, err error) {
	if o.veiled {
		return "", false, nil
	}
	return o.open(ctx, sealed)
}

// open returns the words, or that they were erased.
func (o *opener) open(ctx context.Context, sealed domain.Sealed) (words string, erased bool, err error) {
	switch {
	case sealed == "":
		return "", false, nil
	case o.erased:
		return "", true, nil
	case o.words == nil:
		return "", false, fmt.Errorf("nothing here opens personal words: %w", ErrUnavailable)
	}
	if o.away {
		return wordsAway, false, nil
	}
	words, err = o.opened(ctx, sealed)
	if errors.Is(err, ErrUnavailable) {
		o.away = true
		return wordsAway, false, nil
	}
	if errors.Is(err, ErrErased) {
		o.erased = true
		return "", true, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("open personal words of customer %s: %w", o.customer, err)
	}
	return words, false, nil
}

// opened takes the key with the first word: most answers have none.
func (o *opener) opened(ctx context.Context, sealed domain.Sealed) (words string, err error) {
	within, cancel := context.WithTimeout(ctx, wordPatience)
	defer cancel()
	if o.key == nil {
		if o.key, err = o.words.Opener(within, o.customer); err != nil {
			return "", err
		}
	}
	return o.key(within, sealed)
}
