# Go's compiler and linker, the standard library and testify as compiled packages. No `go` command: it wants a cache to
# write to and takes longer than the compiler.
ARG BASE
FROM ${BASE} AS toolchain
COPY install /usr/local/sbin/mellum-install
RUN sh /usr/local/sbin/mellum-install golang-go golang-github-stretchr-testify-dev
RUN set -eu; export GO111MODULE=off GOPATH=/usr/share/gocode GOCACHE=/tmp/cache CGO_ENABLED=0; \
    mkdir -p /opt/mellum/go/packages /opt/mellum/go/bin; \
    cp "$(go env GOTOOLDIR)/compile" "$(go env GOTOOLDIR)/link" /opt/mellum/go/bin/; \
    go version >/opt/mellum/go/VERSION; \
    go list -export -deps -f '{{if .Export}}{{.ImportPath}} {{.Export}}{{end}}' \
        $(go list std | grep -v -e ^vendor/ -e /internal/ -e ^cmd -e '^runtime/cgo$') \
        github.com/stretchr/testify/assert github.com/stretchr/testify/require \
    | while read -r name file; do \
        to=/opt/mellum/go/packages/$(echo "$name" | tr / _).a; cp "$file" "$to"; echo "packagefile $name=$to"; \
      done >/opt/mellum/go/importcfg
FROM ${BASE}
COPY --from=toolchain /opt/mellum/go /opt/mellum/go
RUN cd /tmp && printf 'package main\nimport ("fmt"; "github.com/stretchr/testify/assert")\nvar _ = assert.Equal\nfunc main() { fmt.Print() }\n' >t.go \
 && /opt/mellum/go/bin/compile -p main -importcfg /opt/mellum/go/importcfg -o t.a t.go \
 && /opt/mellum/go/bin/link -importcfg /opt/mellum/go/importcfg -o t t.a && ./t && rm t t.*
