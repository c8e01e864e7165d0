package cassandra

import (
	"strings"
	"testing"
)

func TestEveryStatementOfAMigrationMayRunTwiceAndSaysWhere(t *testing.T) {
	t.Parallel()
	all, err := migrations()
	if err != nil || len(all) == 0 {
		t.Fatal(len(all), err)
	}
	for _, m := range all {
		for _, statement := range m.statements {
			sets := strings.HasPrefix(statement, "ALTER TABLE") && strings.Contains(statement, " WITH ") // an option has its value, however often it is set
			if !sets && !strings.Contains(statement, "IF NOT EXISTS") {
				t.Errorf("%s fails when it runs twice: %s", m.name, statement)
			}
			if !strings.Contains(inKeyspace(statement, "here"), " here.") {
				t.Errorf("%s: the keyspace is not put into %s", m.name, statement)
			}
			if strings.Contains(statement, "--") {
				t.Errorf("%s: a comment was left: %s", m.name, statement)
			}
		}
	}
}
