// Command gen writes the OpenAPI documents into the folder that it runs in.
package main

import (
	"fmt"
	"os"

	"carryon/api/openapi"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run() error {
	documents, err := openapi.Documents()
	if err != nil {
		return err
	}
	for name, document := range documents {
		if err := os.WriteFile(name, document, 0o644); err != nil { //nolint:gosec // for everyone to read
			return fmt.Errorf("writing %s: %w", name, err)
		}
	}
	return nil
}
