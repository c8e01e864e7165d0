-- +goose Up
-- The generations of each read model, and the one that is read. A generation's rows are in a schema of their own.
CREATE TABLE generations (
	model text COLLATE "C" NOT NULL,
	generation int NOT NULL CHECK (generation > 0),
	created_at timestamptz NOT NULL DEFAULT now(),
	PRIMARY KEY (model, generation)
);
CREATE TABLE current_generations (
	model text COLLATE "C" PRIMARY KEY,
	generation int NOT NULL,
	promoted_at timestamptz NOT NULL DEFAULT now(),
	FOREIGN KEY (model, generation) REFERENCES generations
);
-- Who looked at which customer. It is no read model: nothing brings it back.
CREATE TABLE accesses (
	number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	at bigint NOT NULL, -- microseconds since 1970, as all moments here
	actor text NOT NULL,
	role text NOT NULL,
	customer text COLLATE "C" NOT NULL,
	what text NOT NULL,
	reason text NOT NULL,
	request text NOT NULL
);
CREATE INDEX accesses_customer ON accesses (customer, number);
