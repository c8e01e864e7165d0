package cli

import (
	"fmt"
	"time"

	"carryon/domain"
)

type tokenCommand struct {
	Role     string        `help:"device, service, support, analyst or operator." required:"" enum:"device,service,support,analyst,operator"`
	Customer string        `help:"The customer of a device token." placeholder:"ID"`
	Subject  string        `help:"Who acts; recorded with everything they do (default: the role, or the customer of a device)." placeholder:"ID"`
	TTL      time.Duration `help:"How long the token is good, 1m to 8760h." default:"24h"`
}

func (t tokenCommand) check() error {
	var c complaints
	device := t.Role == string(domain.RoleDevice)
	c.wrong(device && t.Customer == "", "--customer is missing: a device token is good for one customer")
	c.wrong(!device && t.Customer != "", "--customer only goes with --role device")
	c.wrong(t.TTL < time.Minute || t.TTL > 365*24*time.Hour, "--ttl %s is outside 1m to 8760h", t.TTL)
	c.id("--customer", t.Customer)
	c.id("--subject", t.Subject)
	return c.err()
}

// Run prints just a token.
func (t tokenCommand) Run(r *run) error {
	keys, err := r.keys()
	if err != nil {
		return err
	}
	token, err := keys.Token(domain.Role(t.Role), t.Customer, t.Subject, t.TTL)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(r.Out, token)
	return err
}

// keys are those of the data folder. Who has mistyped its name should know that servers elsewhere know nothing of them.
func (r *run) keys() (Keys, error) {
	keys, err := r.wiring.Keys(r.config)
	if err != nil {
		return nil, err
	}
	if folder := keys.MadeIn(); folder != "" {
		fmt.Fprintf(r.Err, "made the first keys in %s; servers with another --data or --keys do not know them\n", folder)
	}
	return keys, nil
}

type keysCommand struct {
	List keysList `cmd:"" default:"1" help:"List the keys that devices check licences with."`
	Add  keysAdd  `cmd:"" help:"Make a new key. Servers sign with it from their next start on; older keys stay published."`
}

type keysList struct{}

// Run lists the licence keys.
func (keysList) Run(r *run) error {
	keys, err := r.keys()
	if err != nil {
		return err
	}
	for _, k := range keys.LicenseKeys() {
		mark := ""
		if k.Current {
			mark = "  signs new licences"
		}
		if _, err := fmt.Fprintf(r.Out, "%s  %s%s\n", k.ID, k.CreatedAt.UTC().Format(time.RFC3339), mark); err != nil {
			return err
		}
	}
	return nil
}

type keysAdd struct{}

// Run adds a licence key.
func (keysAdd) Run(r *run) error {
	keys, err := r.keys()
	if err != nil {
		return err
	}
	id, err := keys.AddLicenseKey()
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(r.Out, id)
	return err
}
