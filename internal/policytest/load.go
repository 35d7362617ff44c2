package policytest

import (
	"compress/gzip"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// maxSize bounds a file after decompression.
const maxSize = 256 << 20

// Find returns the test files among paths in a fixed order: files as named,
// folders with all .json and .json.gz files below them, sorted.
func Find(paths ...string) ([]string, error) {
	var files []string
	for _, path := range paths {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			if !isTest(path) {
				return nil, fmt.Errorf("%s is no policy test: expected a .json or .json.gz file, or a folder of such", path)
			}
			files = append(files, path)
			continue
		}
		found, err := walk(path)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fmt.Errorf("%s holds no policy tests: expected .json or .json.gz files", path)
		}
		files = append(files, found...)
	}
	return files, nil
}

func isTest(path string) bool {
	return strings.HasSuffix(path, ".json") || strings.HasSuffix(path, ".json.gz")
}

func walk(dir string) ([]string, error) {
	var files []string
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && isTest(path) {
			files = append(files, path)
		}
		return err
	})
	slices.Sort(files)
	return files, err
}

// Load reads one file.
func Load(path string) (*Test, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	src, err := readAll(f, strings.HasSuffix(path, ".gz"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	t, err := Parse(src)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	t.Path = path
	return t, nil
}

func readAll(r io.Reader, compressed bool) ([]byte, error) {
	if compressed {
		z, err := gzip.NewReader(r)
		if err != nil {
			return nil, err
		}
		r = z
	}
	src, err := io.ReadAll(io.LimitReader(r, maxSize+1))
	if err == nil && len(src) > maxSize {
		err = fmt.Errorf("the file is larger than %d MiB", maxSize>>20)
	}
	return src, err
}
