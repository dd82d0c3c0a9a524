package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v2"
)

// maxConfigBytes is far more than any config needs, and little enough to read without a thought.
const maxConfigBytes = 64 << 10

// fileValues is what a config file says, by the names of the global flags.
type fileValues struct {
	path   string
	values map[string]string
}

// configFile is the shape of the file. The keys are the names of the flags; an unknown or repeated one is refused.
type configFile struct {
	Endpoints      textList `yaml:"endpoints"`
	Prefix         *string  `yaml:"prefix"`
	CACert         *string  `yaml:"cacert"`
	Cert           *string  `yaml:"cert"`
	Key            *string  `yaml:"key"`
	InsecureSkip   *string  `yaml:"insecure-skip-tls-verify"`
	User           *string  `yaml:"user"`
	PasswordFile   *string  `yaml:"password-file"`
	DialTimeout    *string  `yaml:"dial-timeout"`
	CommandTimeout *string  `yaml:"command-timeout"`
	LogLevel       *string  `yaml:"log-level"`
	LogFormat      *string  `yaml:"log-format"`
	NoColor        *string  `yaml:"no-color"`
}

// textList is a list, or one text with commas.
type textList []string

// UnmarshalYAML reads both forms.
func (l *textList) UnmarshalYAML(unmarshal func(any) error) error {
	var one string
	if unmarshal(&one) == nil {
		*l = textList{one}
		return nil
	}
	return unmarshal((*[]string)(l))
}

// readConfig reads a config file. Every refusal names the file and, where there is one, the line.
func readConfig(path string) (fileValues, error) {
	if path == "" {
		return fileValues{}, nil
	}
	text, err := readSmall(path, maxConfigBytes)
	if err != nil {
		return fileValues{}, usagef("config file %s: %s", path, err)
	}
	var file configFile
	decoder := yaml.NewDecoder(strings.NewReader(text))
	decoder.SetStrict(true)
	if err := decoder.Decode(&file); err != nil && !errors.Is(err, io.EOF) {
		return fileValues{}, usagef("config file %s: %s", path, yamlProblem(err))
	}
	if err := decoder.Decode(new(any)); !errors.Is(err, io.EOF) {
		return fileValues{}, usagef("config file %s: more than one YAML document; only one is read", path)
	}
	return fileValues{path: path, values: file.values(filepath.Dir(path))}, nil
}

// values gives what is set. Files are found from the folder of the config file, so that it can be used from anywhere.
func (f *configFile) values(folder string) map[string]string {
	values := make(map[string]string)
	if len(f.Endpoints) > 0 {
		values["endpoints"] = strings.Join(f.Endpoints, ",")
	}
	for name, v := range map[string]*string{
		"prefix": f.Prefix, "insecure-skip-tls-verify": f.InsecureSkip, "user": f.User, "no-color": f.NoColor,
		"dial-timeout": f.DialTimeout, "command-timeout": f.CommandTimeout, "log-level": f.LogLevel, "log-format": f.LogFormat,
	} {
		if v != nil {
			values[name] = *v
		}
	}
	for name, v := range map[string]*string{
		"cacert": f.CACert, "cert": f.Cert, "key": f.Key, "password-file": f.PasswordFile,
	} {
		if v == nil {
			continue
		}
		values[name] = *v
		if *v != "" && !filepath.IsAbs(*v) {
			values[name] = filepath.Join(folder, *v)
		}
	}
	return values
}

// readSmall reads a regular file of at most limit bytes; whatever is no such file is refused before it can block or fill
// the memory.
func readSmall(path string, limit int64) (string, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return "", fileProblem(err)
	case info.IsDir():
		return "", errors.New("it is a directory")
	case info.Mode().IsRegular() && info.Size() > limit:
		return "", errTooBig(limit)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", fileProblem(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return "", fileProblem(err)
	case int64(len(b)) > limit:
		return "", errTooBig(limit)
	}
	return string(b), nil
}

func errTooBig(limit int64) error {
	return usagef("it has more than the %d KiB that are read", limit>>10)
}

// fileProblem drops the path from an error, because the message around it names the file already.
func fileProblem(err error) error {
	if pathErr := new(fs.PathError); errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

var (
	yamlUnknown = regexp.MustCompile(`^line (\d+): field (.*) not found in type .*$`)
	yamlTwice   = regexp.MustCompile(`^line (\d+): (?:key|field) "?([^" ]*)"? already set.*$`)
	yamlType    = regexp.MustCompile(`^line (\d+): cannot unmarshal (\S+)(?: .*)? into .*$`)
	yamlWords   = map[string]string{"!!seq": "a list", "!!map": "a map"}
)

// problemsShown is enough to see what kind of file it is.
const problemsShown = 3

// yamlProblem says in the user's words what the parser found.
func yamlProblem(err error) string {
	problems := []string{strings.TrimPrefix(err.Error(), "yaml: ")}
	if typeErr := new(yaml.TypeError); errors.As(err, &typeErr) {
		problems = slices.Clone(typeErr.Errors)
	}
	for i, text := range problems {
		if m := yamlUnknown.FindStringSubmatch(text); m != nil {
			problems[i] = "line " + m[1] + ": unknown key " + quoteShort(m[2])
			if n := nearest(m[2], configKeys()); n != "" {
				problems[i] += "; did you mean " + n + "?"
			}
		} else if m := yamlTwice.FindStringSubmatch(text); m != nil {
			problems[i] = "line " + m[1] + ": key " + quoteShort(m[2]) + " is there twice"
		} else if m := yamlType.FindStringSubmatch(text); m != nil && yamlWords[m[2]] != "" {
			problems[i] = "line " + m[1] + ": " + yamlWords[m[2]] + " where one value is wanted"
		} else if m != nil {
			problems[i] = "line " + m[1] + ": want lines of 'name: value'"
		}
	}
	if more := len(problems) - problemsShown; more > 0 {
		problems = append(problems[:problemsShown], fmt.Sprintf("and %d more", more))
	}
	return strings.Join(problems, "; ")
}

func configKeys() []string {
	var keys []string
	for _, g := range globalFlags {
		if g.name != "config" {
			keys = append(keys, g.name)
		}
	}
	return keys
}
