// Package api holds the ways in, one folder each: the command line (cli), its settings (config), the load generator
// (simulate), the two HTTP APIs (commandapi, queryapi) with what they share (web), and their OpenAPI documents (openapi).
// None of them knows an adapter: infra/profile wires them. This package itself holds the tests that look at both APIs.
package api
