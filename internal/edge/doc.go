// Package edge decides who may talk to the server, for REST and MQTT alike: which
// browser origins, which proxies' word about a client's address counts, and how often
// one address or user may ask. The broker, the API and the program share it, so that an
// address is grouped, and a rate counted, the same way on every listener.
package edge
