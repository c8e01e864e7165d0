package query

import (
	"context"
	"errors"
	"fmt"
	"time"

	"carryon/domain"
)

// Exceptions asks what support has allowed a customer.
type Exceptions struct {
	By          Caller
	Customer    string
	State       string // open, used, expired, withdrawn; empty: all
	Page        Page
	Consistency Consistency
}

// ExceptionsAnswer is a page of a customer's exceptions, in the order in which they were granted.
type ExceptionsAnswer struct {
	Made
	At         time.Time      `json:"at"`
	Exceptions []ExceptionRow `json:"exceptions"`
	NextCursor string         `json:"next_cursor,omitempty"`
}

// ExceptionRow is an exception with its words opened.
type ExceptionRow struct {
	domain.ExceptionView
	Words       string `json:"words,omitempty"`        // of the reason; personal
	WordsErased bool   `json:"words_erased,omitempty"` // the customer's key was erased
}

// ExceptionsHandler answers Exceptions.
type ExceptionsHandler struct{ p *Ports }

// Handle returns domain.ErrNotFound (wrapped) for a customer without history.
func (h ExceptionsHandler) Handle(ctx context.Context, q Exceptions) (ExceptionsAnswer, error) {
	err := checkOneOf("state", q.State, domain.ExceptionStatusOpen, domain.ExceptionStatusUsed, domain.ExceptionStatusExpired, domain.ExceptionStatusWithdrawn)
	size, sizeErr := q.Page.size()
	question := []string{"exceptions", q.Customer, q.State}
	from, cursorErr := h.p.listFrom(&q.Page, question...)
	if err := errors.Join(err, sizeErr, cursorErr); err != nil {
		return ExceptionsAnswer{}, err
	}
	b, err := h.p.customerBooks(ctx, q.By, q.Customer, "exceptions", q.Consistency)
	if err != nil {
		return ExceptionsAnswer{}, err
	}
	views := only(b.customer.Exceptions(b.at), func(v *domain.ExceptionView) bool { return isOrAny(q.State, v.Status) })
	shown, next, err := listPage(h.p, views, from, size, func(v *domain.ExceptionView) string { return v.ExceptionID }, question...)
	if err != nil {
		return ExceptionsAnswer{}, err
	}
	answer := ExceptionsAnswer{Made: b.Made, At: b.at, NextCursor: next}
	if answer.Exceptions, err = exceptionRows(ctx, h.p.wordsOf(q.By, q.Customer), shown); err != nil {
		return ExceptionsAnswer{}, fmt.Errorf("read exceptions: %w", err)
	}
	return answer, nil
}

// exceptionRows opens the words of the reasons.
func exceptionRows(ctx context.Context, words *opener, views []domain.ExceptionView) ([]ExceptionRow, error) {
	rows := make([]ExceptionRow, len(views))
	for i, v := range views {
		rows[i].ExceptionView = v
		var err error
		if rows[i].Words, rows[i].WordsErased, err = words.reason(ctx, v.Reason.Text); err != nil {
			return nil, err
		}
		rows[i].Reason.Text = ""
		if words.veiled {
			rows[i].Reason.Case = ""
		}
	}
	return rows, nil
}
