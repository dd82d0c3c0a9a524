package lease_test

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/hbctl/hbctl/lease"
)

// What each error that etcd's rpctypes defines means, by its name there without ErrGRPC. Every other one has to be added here
// by whoever upgrades etcd, after thinking about it.
var verdicts = map[lease.Verdict][]string{
	lease.Gone: {"LeaseNotFound"},
	lease.Retry: strings.Fields(`
		NoSpace WatchCanceled RequestTooManyRequests
		InvalidAuthToken AuthOldRevision
		NoLeader NotLeader LeaderChanged NotCapable Stopped Unhealthy Corrupt
		Timeout TimeoutDueToLeaderFail TimeoutDueToConnectionLost TimeoutWaitAppliedIndex
		NotSupportedForLearner ClusterVersionUnavailable Canceled DeadlineExceeded`),
	lease.Refused: strings.Fields(`
		EmptyKey KeyNotFound ValueProvided LeaseProvided TooManyOps DuplicateKey InvalidClientAPIVersion InvalidSortOption
		Compacted FutureRev LeaseExist LeaseTTLTooLarge RequestTooLarge
		MemberExist PeerURLExist MemberNotEnoughStarted MemberBadURLs MemberNotFound MemberNotLearner LearnerNotReady
		TooManyLearners ClusterIDMismatch BadLeaderTransferee
		RootUserNotExist RootRoleNotExist UserAlreadyExist UserEmpty UserNotFound
		RoleAlreadyExist RoleNotFound RoleEmpty RoleNotGranted
		AuthFailed AuthNotEnabled InvalidAuthMgmt
		PermissionNotGiven PermissionDenied PermissionNotGranted
		WrongDowngradeVersionFormat InvalidDowngradeTargetVersion DowngradeInProcess NoInflightDowngrade`),
}

func TestJudgeEveryErrorOfEtcd(t *testing.T) {
	want := make(map[string]lease.Verdict)
	for verdict, names := range verdicts {
		for _, name := range names {
			want[name] = verdict
		}
	}
	found := etcdErrors(t)
	for name, err := range found {
		verdict, listed := want[name]
		if !listed {
			t.Errorf("rpctypes.ErrGRPC%s (%v) is not in the table: decide what it means", name, err)
			continue
		}
		judgeAll(t, "rpctypes.ErrGRPC"+name, err, verdict)
		judgeAll(t, "rpctypes.Err"+name, rpctypes.Error(err), verdict)
	}
	for name := range want {
		if found[name] == nil {
			t.Errorf("the table has %s, rpctypes has not", name)
		}
	}
}

// judgeAll judges the error as it is and as it may have been wrapped on its way.
func judgeAll(t *testing.T, name string, err error, want lease.Verdict) {
	t.Helper()
	for how, err := range map[string]error{
		"as it is":      err,
		"wrapped":       fmt.Errorf("renewing: %w", err),
		"wrapped twice": fmt.Errorf("registering: %w", fmt.Errorf("renewing: %w", err)),
		"joined":        errors.Join(errors.New("renewing"), err),
	} {
		if got := lease.Judge(err); got != want {
			t.Errorf("%s %s: %v, want %v", name, how, got, want)
		}
	}
}

// etcdErrors reads from the source of etcd's rpctypes which errors servers send. It fails on a declaration that it does not
// understand, so that none can be overlooked.
func etcdErrors(t *testing.T) map[string]error {
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
func collect(t *testing.T, found map[string]error, spec *ast.ValueSpec) {
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

func TestJudgeEveryCode(t *testing.T) {
	refused := map[codes.Code]bool{
		codes.InvalidArgument: true, codes.NotFound: true, codes.AlreadyExists: true, codes.PermissionDenied: true,
		codes.FailedPrecondition: true, codes.OutOfRange: true, codes.Unimplemented: true,
	}
	for c := codes.OK + 1; c <= codes.Unauthenticated+1; c++ { // one more than there are
		want := lease.Retry
		if refused[c] {
			want = lease.Refused
		}
		judgeAll(t, c.String(), status.Error(c, "of a proxy, perhaps"), want)
	}
}

func TestJudgeOtherErrors(t *testing.T) {
	for _, err := range []error{
		nil, context.Canceled, context.DeadlineExceeded, io.EOF, io.ErrUnexpectedEOF, errors.New("connection refused"),
		status.Error(codes.Unknown, "lease: not a primary lessor"), // what etcd says in the middle of an election
		status.Error(codes.Unavailable, "transport is closing"),
		status.FromContextError(context.Canceled).Err(),
		status.FromContextError(context.DeadlineExceeded).Err(),
	} {
		if err == nil {
			if got := lease.Judge(err); got != lease.Retry {
				t.Errorf("nil: %v, want retry", got)
			}
			continue
		}
		judgeAll(t, err.Error(), err, lease.Retry)
	}
}

func TestVerdictString(t *testing.T) {
	for verdict, want := range map[lease.Verdict]string{lease.Retry: "retry", lease.Gone: "gone", lease.Refused: "refused"} {
		if got := verdict.String(); got != want {
			t.Errorf("%d is called %q, want %q", verdict, got, want)
		}
	}
}
