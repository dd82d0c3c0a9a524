package observer

import (
	"encoding/json"
	"fmt"

	"github.com/hbctl/hbctl/integration/history"
	"github.com/hbctl/hbctl/registry"
)

// Listing makes a record of what `hbctl list -o json` printed. At is when it was started, until when it had ended.
func Listing(printed []byte, at, until int64) (history.Record, error) {
	var list struct {
		Revision int64              `json:"revision"`
		Services []registry.Service `json:"services"`
	}
	if err := json.Unmarshal(printed, &list); err != nil {
		return history.Record{}, fmt.Errorf("the list is %q: %w", printed, err)
	}
	rec := history.Record{Kind: history.Listed, At: at, Until: until, Revision: list.Revision, Rows: []history.Row{}}
	for i := range list.Services {
		rec.Rows = append(rec.Rows, history.RowOf(&list.Services[i]))
	}
	return rec, nil
}
