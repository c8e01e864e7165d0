package vault_test

import (
	"testing"

	"carryon/command"
	"carryon/infra/conformance"
	"carryon/infra/vault"
)

func TestTheFileKeepsTheContractOfAVault(t *testing.T) {
	conformance.Vault(t, func(t *testing.T) func(*testing.T) command.Vault {
		cfg := config(t.TempDir())
		return func(t *testing.T) command.Vault { return open(t, cfg) }
	})
}

func TestTheMemoryKeepsTheContractOfAVault(t *testing.T) {
	conformance.Vault(t, func(*testing.T) func(*testing.T) command.Vault {
		v := vault.NewMemory() // there is one process only
		return func(*testing.T) command.Vault { return v }
	})
}
