package query

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"carryon/domain"
)

// A person may ask for everything that is held about him. It is given as one JSON document, written page by page from
// what the other questions answer, words opened, and is recorded as one look.

// AccessExport asks for everything that is held about a customer.
type AccessExport struct {
	By       Caller
	Customer string
}

// AccessExportHandler answers AccessExport.
type AccessExportHandler struct{ p *Ports }

// Handle begins the document. domain.ErrNotFound (wrapped): nothing is held.
func (h AccessExportHandler) Handle(ctx context.Context, q AccessExport) (func(io.Writer) error, error) {
	if err := h.p.Desk.admit(ctx, q.By, q.Customer, "access export"); err != nil {
		return nil, err
	}
	// The look is recorded: what follows are parts of it.
	by := Caller{Actor: domain.Actor{ID: q.By.Actor.ID, Role: domain.RoleSystem}, RequestID: q.By.RequestID}
	summary, err := CustomerHandler(h).Handle(ctx, Customer{By: by, Customer: q.Customer})
	if err != nil {
		return nil, fmt.Errorf("access export: %w", err)
	}
	return func(w io.Writer) error {
		d := &jsonObject{out: bufio.NewWriterSize(w, 64<<10)}
		d.field("version", summary.Version)
		d.field("at", summary.At)
		d.field("customer", summary.Summary)
		part(d, "devices", func(p Page) ([]DeviceRow, string, error) {
			a, err := DevicesHandler(h).Handle(ctx, Devices{By: by, Customer: q.Customer, Page: p})
			return a.Devices, a.NextCursor, err
		})
		part(d, "licenses", func(p Page) ([]domain.LicenseView, string, error) {
			a, err := LicensesHandler(h).Handle(ctx, Licenses{By: by, Customer: q.Customer, Order: OrderOldest, Page: p})
			return a.Licenses, a.NextCursor, err
		})
		part(d, "exceptions", func(p Page) ([]ExceptionRow, string, error) {
			a, err := ExceptionsHandler(h).Handle(ctx, Exceptions{By: by, Customer: q.Customer, Page: p})
			return a.Exceptions, a.NextCursor, err
		})
		part(d, "denials", func(p Page) ([]Denial, string, error) {
			a, err := DenialsHandler(h).Handle(ctx, Denials{By: by, Customer: q.Customer, Order: OrderOldest, Page: p})
			return a.Denials, a.NextCursor, err
		})
		part(d, "timeline", func(p Page) ([]TimelineEvent, string, error) {
			a, err := TimelineHandler(h).Handle(ctx, Timeline{By: by, Customer: q.Customer, Order: OrderOldest, Page: p})
			return a.Events, a.NextCursor, err
		})
		part(d, "looked_at", func(p Page) ([]Access, string, error) {
			a, err := AccessHandler(h).Handle(ctx, Accesses{By: Caller{Actor: domain.Actor{ID: by.Actor.ID, Role: domain.RoleOperator}}, Customer: q.Customer, Page: p})
			return a.Accesses, a.NextCursor, err
		})
		return d.end()
	}, nil
}

// jsonObject is a JSON object that is written field by field. The first failure ends it.
type jsonObject struct {
	out *bufio.Writer
	n   int
	err error
}

func (d *jsonObject) name(name string) {
	open := `,`
	if d.n == 0 {
		open = `{`
	}
	d.n++
	d.write(open + `"` + name + `":`)
}

func (d *jsonObject) write(text string) {
	if d.err == nil {
		_, d.err = d.out.WriteString(text)
	}
}

func (d *jsonObject) value(v any) {
	if d.err != nil {
		return
	}
	data, err := json.Marshal(v)
	if err != nil {
		d.err = fmt.Errorf("access export: %w", err)
		return
	}
	_, d.err = d.out.Write(data)
}

func (d *jsonObject) field(name string, v any) {
	d.name(name)
	d.value(v)
}

func (d *jsonObject) end() error {
	d.write("}\n")
	if d.err == nil {
		d.err = d.out.Flush()
	}
	return d.err
}

// part writes a list, page by page.
func part[T any](d *jsonObject, name string, next func(Page) ([]T, string, error)) {
	d.name(name)
	d.write("[")
	first := true
	for cursor := ""; d.err == nil; {
		rows, more, err := next(Page{Limit: MaxPageSize, Cursor: cursor})
		if err != nil {
			d.err = fmt.Errorf("access export, %s: %w", name, err)
			return
		}
		for i := range rows {
			if !first {
				d.write(",")
			}
			first = false
			d.value(rows[i])
		}
		if cursor = more; more == "" {
			break
		}
	}
	d.write("]")
}
