package openapi_test

import (
	"bytes"
	"os"
	"testing"

	"carryon/api/openapi"
)

func TestTheCommittedDocumentsSayWhatTheRoutesDo(t *testing.T) {
	t.Parallel()
	documents, err := openapi.Documents()
	if err != nil {
		t.Fatal(err)
	}
	if len(documents) != 4 {
		t.Fatalf("%d documents, want 4", len(documents))
	}
	for name, document := range documents {
		committed, err := os.ReadFile(name)
		if err != nil {
			t.Errorf("%v: run make gen", err)
			continue
		}
		if !bytes.Equal(committed, document) {
			t.Errorf("%s is stale: run make gen", name)
		}
	}
}

func TestGeneratingTwiceGivesTheSameBytes(t *testing.T) {
	t.Parallel()
	once, err := openapi.Documents()
	if err != nil {
		t.Fatal(err)
	}
	again, err := openapi.Documents()
	if err != nil {
		t.Fatal(err)
	}
	for name := range once {
		if !bytes.Equal(once[name], again[name]) {
			t.Errorf("%s differs between two runs", name)
		}
	}
}
