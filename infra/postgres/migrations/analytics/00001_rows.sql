-- +goose Up
-- How far the model is with each shard, and who works on it: the row is locked meanwhile.
CREATE TABLE checkpoint (shard int PRIMARY KEY, entry bigint NOT NULL, id bytea NOT NULL) WITH (fillfactor = 50);
CREATE TABLE parked (
	stream text COLLATE "C" PRIMARY KEY, shard int NOT NULL, first_seq bigint NOT NULL, entry bigint NOT NULL, place int NOT NULL,
	reason text NOT NULL, attempts int NOT NULL, since bigint NOT NULL
);
CREATE INDEX parked_shard ON parked (shard);
-- What the rows were made with: a generation of another key is stale.
CREATE TABLE made_with (what text COLLATE "C" PRIMARY KEY, value text NOT NULL);
-- Moments are microseconds, quarters are seconds. Customers, devices, licences and actors are only compared and counted,
-- never shown, so facts hold their hashes.
CREATE TABLE dimensions (
	id bigint PRIMARY KEY, title text COLLATE "C" NOT NULL, series text COLLATE "C" NOT NULL, studio text COLLATE "C" NOT NULL,
	plan text COLLATE "C" NOT NULL, country text COLLATE "C" NOT NULL, device_type text COLLATE "C" NOT NULL, device_family text COLLATE "C" NOT NULL,
	trigger_ text COLLATE "C" NOT NULL, code text COLLATE "C" NOT NULL, basis text COLLATE "C" NOT NULL, role text COLLATE "C" NOT NULL,
	policy_version text COLLATE "C" NOT NULL
);
CREATE INDEX dimensions_title ON dimensions (title);
-- A row per shard, so that shards never wait for each other; questions add them up.
CREATE TABLE rollups (
	quarter bigint NOT NULL, dimensions bigint NOT NULL, n bigint NOT NULL, shard int NOT NULL, metric smallint NOT NULL,
	PRIMARY KEY (metric, quarter, dimensions, shard)
) WITH (fillfactor = 90);
CREATE TABLE facts (
	quarter bigint NOT NULL, customer bigint NOT NULL, seq bigint NOT NULL, dimensions bigint NOT NULL,
	device bigint NOT NULL, license bigint NOT NULL, actor bigint NOT NULL, metric smallint NOT NULL,
	PRIMARY KEY (metric, quarter, customer, seq)
);
CREATE INDEX facts_customer ON facts (customer);
CREATE TABLE lives (
	license text COLLATE "C" NOT NULL, customer text COLLATE "C" NOT NULL, device text COLLATE "C" NOT NULL,
	from_ bigint NOT NULL, own_end bigint, cut_at bigint, dimensions bigint NOT NULL, number int NOT NULL,
	PRIMARY KEY (license, number)
) WITH (fillfactor = 90);
CREATE INDEX lives_device ON lives (customer, device);
CREATE INDEX lives_dimensions ON lives (dimensions);
CREATE TABLE withdrawals (title text COLLATE "C" NOT NULL, country text COLLATE "C" NOT NULL, from_ bigint NOT NULL, PRIMARY KEY (title, country));
