// Package edge has the checks that every listener makes before it looks at a request: which
// browser origins may call, which proxies are trusted to report a client's address, and how
// often one address or user may call. The broker, the API and the program share it, so that
// addresses are grouped and rates are counted in the same way for REST and MQTT.
package edge
