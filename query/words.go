package query

import (
	"context"
	"errors"
	"fmt"

	"carryon/domain"
)

// opener opens one customer's personal words, and stops trying once the key is known to be gone.
type opener struct {
	words    Words
	customer string
	erased   bool
}

func (p *Ports) wordsOf(customer string) *opener { return &opener{words: p.Words, customer: customer} }

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
	words, err = o.words.Open(ctx, o.customer, sealed)
	if errors.Is(err, ErrErased) {
		o.erased = true
		return "", true, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("open personal words of customer %s: %w", o.customer, err)
	}
	return words, false, nil
}
