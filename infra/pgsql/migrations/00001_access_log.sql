-- +goose Up
CREATE TABLE accesses (
	number BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
	at BIGINT NOT NULL, -- microseconds since 1970
	actor TEXT NOT NULL, role TEXT NOT NULL, customer TEXT COLLATE "C" NOT NULL, what TEXT NOT NULL, reason TEXT NOT NULL, request TEXT NOT NULL
);
CREATE INDEX accesses_customer ON accesses (customer, number);
