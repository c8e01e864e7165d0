package cli

import "fmt"

type migrateCommand struct{}

// Help is shown by --help.
func (migrateCommand) Help() string {
	return `Makes what is not there yet: keyspace and tables in Cassandra, schemas in Postgres, indices in Elasticsearch, the topic in Kafka, keys in the folder of keys; in the embedded profile, the data folder. Processes do so by themselves when they need it; this is for doing it once, and seeing it done, before they start. It may be run again, and by several at once. What a newer program has changed is refused.`
}

// Run makes what is missing.
func (migrateCommand) Run(r *run) error {
	system, err := r.open(OpenOptions{})
	if err != nil {
		return err
	}
	defer r.close(system)
	if err := system.Prepare(r.ctx); err != nil {
		return err
	}
	_, err = fmt.Fprintf(r.Out, "everything that the %s profile keeps is there and fits this program\n", r.config.Profile)
	return err
}
