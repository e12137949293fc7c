package main

type serveCmd struct{}

func (serveCmd) Run(p *program) error {
	_, bad := p.settings.check()
	return bad.err()
}
