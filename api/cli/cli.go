// Package cli is the command line: it parses, asks for a wired profile, and runs one command on it.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/alecthomas/kong"

	"carryon/api/config"
	"carryon/command"
	"carryon/domain"
)

// Streams are what a command reads and writes.
type Streams struct {
	Out io.Writer // answers
	Err io.Writer // progress and complaints
}

// Exit statuses.
const (
	ExitOK    = 0
	ExitFail  = 1 // the command could not do its work
	ExitUsage = 2 // flags, configuration or input are wrong
	ExitFound = 3 // an audit or check found differences
	ExitRows  = 4 // rows of a file are bad, so that nothing of it was taken
)

// ErrFound is wrapped by a command that did its work and found differences.
var ErrFound = errors.New("differences found")

// ErrBadRows is wrapped by an import that changed nothing because rows of the file are bad.
var ErrBadRows = errors.New("bad rows")

// errUsage marks errors of flags, configuration and input.
var errUsage = errors.New("usage")

type program struct {
	Config string `help:"YAML file of settings. Flags and environment are stronger." placeholder:"FILE" env:"CARRYON_CONFIG"`
	Settings

	Demo      demoCommand         `cmd:"" help:"Make up a history over the real catalogue, serve it, and show what to try."`
	Serve     serveCommand        `cmd:"" help:"Serve the command and query APIs and run the projectors."`
	Simulate  simulateCommand     `cmd:"" help:"Load any Carryon over HTTP with seeded, paced households, and check what it acknowledged."`
	Verify    verifyCommand       `cmd:"" help:"Audit log, histories and read models. Exit status 3: differences."`
	Chaos     chaosCommand        `cmd:"" help:"Kill, pause and mislead processes under a load, and compare everything afterwards. Exit status 3: something was found."`
	Rebuild   rebuildCommand      `cmd:"" help:"Build read models anew beside themselves, audit them, and go over to them in one step."`
	Parked    parkedCommand       `cmd:"" help:"Streams that wait behind an event that can't be applied: list, retry, drop."`
	Backup    backupCommand       `cmd:"" help:"Copy the data folder while it is served, and prove the copy."`
	Restore   restoreCommand      `cmd:"" help:"Make the data folder from a backup."`
	Explain   explainCommand      `cmd:"" help:"Why may this customer (not) download this title on this device, now or at another moment?"`
	Backtest  backtestCommand     `cmd:"" help:"Decide the past again under another policy, and say what would have been decided otherwise."`
	Export    exportCommand       `cmd:"" help:"Write tables of the read models as CSV, NDJSON or Parquet."`
	Access    accessExportCommand `cmd:"" name:"access-export" help:"Write everything that is held about one customer."`
	Catalogue catalogueCommand    `cmd:"" help:"Show or replace the catalogue of titles."`
	Migrate   migrateCommand      `cmd:"" help:"Make tables, indices, topics and keys that are not there yet."`
	Token     tokenCommand        `cmd:"" help:"Print an access token, and nothing else."`
	Keys      keysCommand         `cmd:"" help:"Show or rotate the keys that sign licences."`
	Conf      configCommand       `cmd:"" name:"config" help:"Print the effective configuration, secrets redacted."`
	Version   versionCommand      `cmd:"" help:"Print the version."`
}

// Settings are the flags of config.Settings, one for each; nil: not given. They are text here: config.Load reads them
// together with the other sources and reports all mistakes at once.
type Settings struct {
	Data            *string `group:"Settings" help:"Folder of everything that is kept (carryon-data)." placeholder:"DIR"`
	Keys            *string `group:"Settings" help:"Folder of the keys, the same for all processes (in the data folder)." placeholder:"DIR"`
	Profile         *string `group:"Settings" help:"embedded (SQLite, in-process messages) or distributed (Cassandra, Kafka, Postgres, Elasticsearch)." placeholder:"NAME"`
	Roles           *string `group:"Settings" help:"What this process does: command, projector, query." placeholder:"LIST"`
	Listen          *string `group:"Settings" help:"host:port of the HTTP server (127.0.0.1:8080)." placeholder:"ADDR"`
	CommandUrl      *string `group:"Settings" help:"URL of the command API that the console of a process without the role command acts through." placeholder:"URL"`
	LogLevel        *string `group:"Settings" help:"debug, info, warn or error." placeholder:"LEVEL"`
	LogFormat       *string `group:"Settings" help:"text or json." placeholder:"FORMAT"`
	MasterKey       *string `group:"Settings" help:"Base64 of 32 bytes that wrap the customers' keys. Better given in the environment." placeholder:"KEY"`
	CommandTimeout  *string `group:"Settings" help:"Until a command's caller is told that the outcome is unknown (10s)." placeholder:"TIME"`
	QueryTimeout    *string `group:"Settings" help:"Until a query is given up (15s)." placeholder:"TIME"`
	ShutdownTimeout *string `group:"Settings" help:"For draining, altogether (20s)." placeholder:"TIME"`
	ReferenceMaxAge *string `group:"Settings" help:"How stale policies and withdrawals may be (30s)." placeholder:"TIME"`
	ShardQueue      *string `group:"Settings" help:"Commands that may wait per shard (4096)." placeholder:"N"`
	CustomerQueue   *string `group:"Settings" help:"Commands that may wait per customer (64)." placeholder:"N"`
	CacheBytes      *string `group:"Settings" help:"Memory for folded customers (268435456)." placeholder:"BYTES"`
	SnapshotEvery   *string `group:"Settings" help:"Events of a stream between two snapshots (100)." placeholder:"N"`
	MaxInFlight     *string `group:"Settings" help:"HTTP requests at once (1024)." placeholder:"N"`
	AuditEvery      *string `group:"Settings" help:"About how often a sample is audited; 0s: never (24h)." placeholder:"TIME"`
	ShadowPolicy    *string `group:"Settings" help:"Policy document that decides beside the one in force and changes nothing." placeholder:"FILE"`
	Testing         *string `group:"Settings" help:"yes: this process may be told to do wrong on purpose (no)." placeholder:"YES"`
	ClockOffset     *string `group:"Settings" help:"By how much its clock is wrong on purpose; only with --testing yes (0s)." placeholder:"TIME"`

	Shards                    *string `group:"Distributed" help:"Shards that customers are spread over, fixed when the event store is made (16)." placeholder:"N"`
	InternalListen            *string `group:"Distributed" help:"host:port where other processes hand commands over (127.0.0.1:0)." placeholder:"ADDR"`
	InternalAddress           *string `group:"Distributed" help:"host:port by which other processes reach this one." placeholder:"ADDR"`
	ReachBy                   *string `group:"Distributed" help:"host:port=host:port of nodes and brokers that tell another address of themselves." placeholder:"LIST"`
	Cassandra                 *string `group:"Distributed" help:"host:port of some nodes (127.0.0.1:9042)." placeholder:"LIST"`
	CassandraKeyspace         *string `group:"Distributed" help:"Keyspace of the event store (carryon)." placeholder:"NAME"`
	CassandraDatacenter       *string `group:"Distributed" help:"Data centre of this process." placeholder:"NAME"`
	CassandraReplication      *string `group:"Distributed" help:"Replicas of a keyspace that is made (3)." placeholder:"N"`
	CassandraUser             *string `group:"Distributed" help:"User; empty: no authentication." placeholder:"NAME"`
	CassandraPasswordFile     *string `group:"Distributed" help:"File with the password." placeholder:"FILE"`
	CassandraCaFile           *string `group:"Distributed" help:"Authority of the certificates: TLS." placeholder:"FILE"`
	Kafka                     *string `group:"Distributed" help:"host:port of some brokers (127.0.0.1:9092)." placeholder:"LIST"`
	KafkaTopic                *string `group:"Distributed" help:"Topic of the entries (carryon)." placeholder:"NAME"`
	KafkaUser                 *string `group:"Distributed" help:"User; empty: no authentication." placeholder:"NAME"`
	KafkaPasswordFile         *string `group:"Distributed" help:"File with the password." placeholder:"FILE"`
	KafkaMechanism            *string `group:"Distributed" help:"plain, scram-sha-256 or scram-sha-512." placeholder:"NAME"`
	KafkaCaFile               *string `group:"Distributed" help:"Authority of the certificates: TLS." placeholder:"FILE"`
	Postgres                  *string `group:"Distributed" help:"URL of the read models' database, without a password." placeholder:"URL"`
	PostgresPasswordFile      *string `group:"Distributed" help:"File with the password." placeholder:"FILE"`
	Elasticsearch             *string `group:"Distributed" help:"URLs of some nodes (http://127.0.0.1:9200)." placeholder:"LIST"`
	ElasticsearchPrefix       *string `group:"Distributed" help:"What the names of the indices begin with (carryon)." placeholder:"NAME"`
	ElasticsearchReplicas     *string `group:"Distributed" help:"Copies of each index beside the first (1)." placeholder:"N"`
	ElasticsearchUser         *string `group:"Distributed" help:"User; empty: no authentication." placeholder:"NAME"`
	ElasticsearchPasswordFile *string `group:"Distributed" help:"File with the password." placeholder:"FILE"`
	ElasticsearchCaFile       *string `group:"Distributed" help:"Authority of the certificates." placeholder:"FILE"`
}

// given are the settings that were given as flags, by key. An empty value is one: it is stronger than a variable, too.
func (s Settings) given() map[string]string {
	out := map[string]string{}
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		if text, _ := v.Field(i).Interface().(*string); text != nil {
			out[flagName(v.Type().Field(i).Name)] = *text
		}
	}
	return out
}

// flagName is what kong makes of a field's name: LogLevel becomes log-level.
func flagName(field string) string {
	var b strings.Builder
	for i, r := range field {
		if i > 0 && r >= 'A' && r <= 'Z' {
			b.WriteByte('-')
		}
		b.WriteRune(r)
	}
	return strings.ToLower(b.String())
}

// run is what a command gets.
type run struct {
	Streams
	ctx    context.Context
	config *config.Config
	wiring Wiring
}

// Main runs one command line and answers the exit status.
func Main(ctx context.Context, args []string, wiring Wiring, s Streams) int {
	var p program
	exit := -1
	r := &reading{flags: map[string]string{}}
	var err error
	r.parser, err = kong.New(&p, append(r.lenient(),
		kong.Name("carryon"),
		kong.Description("Carryon keeps the books of offline viewing: which customer holds which download licence, on which device, until when, and why a request was refused.\n\nBegin with: carryon demo"),
		kong.Writers(s.Out, s.Err),
		kong.Exit(func(status int) { exit = status }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, FlagsLast: true, WrapUpperBound: 100}),
		kong.ExplicitGroups([]kong.Group{{Key: "Settings", Title: "Settings (also from the environment, as CARRYON_LISTEN, and from --config; `carryon config` prints all)"}, {Key: "Distributed", Title: "Settings of the distributed profile"}}),
		kong.UsageOnError(),
	)...)
	if err != nil {
		fmt.Fprintln(s.Err, "carryon:", err)
		return ExitFail
	}
	if len(args) == 0 {
		args = []string{"--help"}
	}
	parsed := r.read(args, func() bool { return exit >= 0 })
	if exit >= 0 { // help was printed
		return exit
	}
	cfg, problems := r.settings(parsed, &p)
	if len(problems) > 0 {
		complain(s.Err, problems)
		return ExitUsage
	}
	err = parsed.Run(&run{Streams: s, ctx: ctx, config: cfg, wiring: wiring})
	switch {
	case err == nil:
		return ExitOK
	case errors.Is(err, ErrFound):
		fmt.Fprintln(s.Err, "carryon:", err)
		return ExitFound
	case errors.Is(err, ErrBadRows):
		fmt.Fprintln(s.Err, "carryon:", err)
		return ExitRows
	case errors.Is(err, errUsage), isOfInput(err):
		fmt.Fprintln(s.Err, "carryon:", strings.TrimPrefix(err.Error(), errUsage.Error()+": "))
		return ExitUsage
	default:
		fmt.Fprintln(s.Err, "carryon:", err)
		return ExitFail
	}
}

// complain says what is wrong with what was typed and configured.
func complain(w io.Writer, problems []string) {
	if len(problems) == 1 {
		fmt.Fprintf(w, "carryon: %s\nTry: carryon --help\n", problems[0])
		return
	}
	fmt.Fprintf(w, "carryon: %d things are wrong:\n%s\nTry: carryon --help\n", len(problems), indent(strings.Join(problems, "\n")))
}

// isOfInput tells whether an error names a field of what was asked.
func isOfInput(err error) bool {
	_, many := errors.AsType[command.FieldErrors](err)
	_, one := errors.AsType[*domain.FieldError](err)
	return many || one
}

func indent(text string) string { return "  " + strings.ReplaceAll(text, "\n", "\n  ") }

type configCommand struct{}

// Run prints the effective configuration.
func (configCommand) Run(r *run) error { return r.config.Print(r.Out) }

type versionCommand struct{}

// Run prints the version of the build.
func (versionCommand) Run(r *run) error {
	_, err := fmt.Fprintln(r.Out, "carryon", r.wiring.Version)
	return err
}
