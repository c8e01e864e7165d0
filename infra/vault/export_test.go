package vault

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// WrappedKey is a customer's key as it is stored.
func WrappedKey(t *testing.T, v *Vault, customer string) []byte {
	t.Helper()
	key, err := v.store.load(t.Context(), customer)
	if err != nil || len(key) == 0 {
		t.Fatalf("key of %s: %x, %v", customer, key, err)
	}
	return key
}

// InFiles tells whether the bytes stand in any file of the folder.
func InFiles(t *testing.T, dir string, b []byte) bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, b) {
			return true
		}
	}
	return false
}
