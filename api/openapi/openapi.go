// Package openapi keeps the OpenAPI 3.1 documents of both APIs, generated from the routes themselves: `make gen`. A test
// fails when they are stale.
package openapi

import (
	"fmt"

	"carryon/api/commandapi"
	"carryon/api/queryapi"
	"carryon/api/web"
)

//go:generate go run ./gen

// Documents are the documents by file name.
func Documents() (map[string][]byte, error) {
	commands, err := commandapi.Mount(web.NewGateway(web.GatewayOptions{}), nil, commandapi.Options{})
	if err != nil {
		return nil, fmt.Errorf("mounting the command API: %w", err)
	}
	queries, err := queryapi.MountQuestions(web.NewGateway(web.GatewayOptions{}), queryapi.Questions{}, queryapi.Options{})
	if err != nil {
		return nil, fmt.Errorf("mounting the query API: %w", err)
	}
	documents := map[string][]byte{}
	for name, api := range map[string]*web.API{"command": commands, "query": queries} {
		for _, format := range []string{"json", "yaml"} {
			document, err := api.Document(format)
			if err != nil {
				return nil, fmt.Errorf("writing %s.%s: %w", name, format, err)
			}
			documents[name+"."+format] = document
		}
	}
	return documents, nil
}
