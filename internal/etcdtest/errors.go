package etcdtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Errors reads from the source of etcd's rpctypes which errors servers send, by their
// names there without ErrGRPC. It fails on a declaration that it does not understand, so
// that a table of what each of them means can't overlook one.
func Errors(t testing.TB) map[string]error {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{.Dir}}", "go.etcd.io/etcd/api/v3/v3rpc/rpctypes").Output()
	if err != nil {
		t.Fatalf("looking for the source of etcd: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files in %s, %v", len(files), out, err)
	}
	found := make(map[string]error)
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, declaration := range file.Decls {
			group, ok := declaration.(*ast.GenDecl)
			if !ok || group.Tok != token.VAR {
				continue
			}
			for _, spec := range group.Specs {
				if values, ok := spec.(*ast.ValueSpec); ok {
					collect(t, found, values)
				}
			}
		}
	}
	if len(found) < 60 {
		t.Fatalf("only %d errors found in %s", len(found), out)
	}
	return found
}

// collect takes over one declaration: an error of the server (status.Error of a code and a text), the client's form of one
// (Error of that), or an old name of either.
func collect(t testing.TB, found map[string]error, spec *ast.ValueSpec) {
	t.Helper()
	for i, ident := range spec.Names {
		if !strings.HasPrefix(ident.Name, "Err") {
			continue
		}
		if len(spec.Values) != len(spec.Names) {
			t.Errorf("%s has no value of its own", ident.Name)
			continue
		}
		switch value := spec.Values[i].(type) {
		case *ast.Ident:
			continue
		case *ast.CallExpr:
			if f, ok := value.Fun.(*ast.Ident); ok && f.Name == "Error" {
				continue
			}
			name, isServers := strings.CutPrefix(ident.Name, "ErrGRPC")
			if err := statusError(value); err != nil && isServers {
				found[name] = err
				continue
			}
		}
		t.Errorf("can't tell what %s is", ident.Name)
	}
}

// statusError gives the value of status.Error(codes.X, "text"), or nil for any other call.
func statusError(call *ast.CallExpr) error {
	f, ok := call.Fun.(*ast.SelectorExpr)
	if !ok || f.Sel.Name != "Error" || len(call.Args) != 2 {
		return nil
	}
	selector, ok := call.Args[0].(*ast.SelectorExpr)
	if !ok {
		return nil
	}
	literal, ok := call.Args[1].(*ast.BasicLit)
	if !ok {
		return nil
	}
	text, err := strconv.Unquote(literal.Value)
	if err != nil {
		return nil
	}
	for c := codes.OK; c <= codes.Unauthenticated; c++ {
		if c.String() == selector.Sel.Name {
			return status.Error(c, text)
		}
	}
	return nil
}
