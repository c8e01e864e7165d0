package console

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path/filepath"
	"strings"

	"carryon/api/web"
	"carryon/domain"
)

// Everything that a page loads is served from here, under a name that holds the hash of its content, so that browsers
// may keep it for ever. Nothing is loaded from elsewhere and nothing stands inline, and the policy that is sent with
// each page makes browsers refuse it, should it ever.

//go:embed assets templates
var files embed.FS

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

type asset struct {
	kind     string
	raw, zip []byte
	hash     string
}

func readAssets() (map[string]*asset, error) {
	kinds := map[string]string{".js": "text/javascript; charset=utf-8", ".css": "text/css; charset=utf-8", ".svg": "image/svg+xml"}
	assets := map[string]*asset{}
	err := fs.WalkDir(files, "assets", func(name string, _ fs.DirEntry, err error) error {
		kind, served := kinds[filepath.Ext(name)]
		if err != nil || !served {
			return err
		}
		raw, err := files.ReadFile(name)
		if err != nil {
			return err //nolint:wrapcheck // names the file
		}
		var zipped bytes.Buffer
		z, err := gzip.NewWriterLevel(&zipped, gzip.BestCompression)
		if err != nil {
			return err //nolint:wrapcheck // a level that there is
		}
		if _, err := z.Write(raw); err != nil {
			return err //nolint:wrapcheck // to memory
		}
		if err := z.Close(); err != nil {
			return err //nolint:wrapcheck // to memory
		}
		sum := sha256.Sum256(raw)
		assets[filepath.Base(name)] = &asset{kind: kind, raw: raw, zip: zipped.Bytes(), hash: hex.EncodeToString(sum[:6])}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading what pages load: %w", err)
	}
	return assets, nil
}

// asset serves a file.
func (c *Console) asset(w http.ResponseWriter, r *http.Request) {
	a, ok := c.assets[strings.TrimPrefix(r.URL.Path, "/assets/")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	h := w.Header()
	h.Set("Content-Type", a.kind)
	h.Set("Vary", "Accept-Encoding")
	h.Set("Cache-Control", "no-cache")
	if r.URL.Query().Get("v") == a.hash {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	body := a.raw
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		h.Set("Content-Encoding", "gzip")
		body = a.zip
	}
	_, _ = w.Write(body) // the visitor may have gone
}

// page is a template of its own inside the frame.
type page struct{ *template.Template }

// readPages reads the templates: one frame, parts that pages share, and a file per page.
func readPages(assets map[string]*asset) (map[string]*page, error) {
	shared, err := template.New("frame").Funcs(functions(assets)).ParseFS(files, "templates/frame.html", "templates/parts.html")
	if err != nil {
		return nil, fmt.Errorf("reading templates: %w", err)
	}
	names, err := fs.Glob(files, "templates/page-*.html")
	if err != nil {
		return nil, fmt.Errorf("reading templates: %w", err)
	}
	pages := map[string]*page{}
	for _, name := range names {
		own, err := shared.Clone()
		if err == nil {
			own, err = own.ParseFS(files, name)
		}
		if err != nil {
			return nil, fmt.Errorf("reading templates: %w", err)
		}
		pages[strings.TrimSuffix(strings.TrimPrefix(filepath.Base(name), "page-"), ".html")] = &page{own}
	}
	return pages, nil
}

// frame is what stands around every page.
type frame struct {
	Title   string
	Section string // of the navigation that is open
	Charts  bool   // loads what draws charts
	Find    string // what stands in the box
	Home    bool   // has a box of its own

	Who   web.Identity
	CSRF  string
	Theme string
	Back  string // this page
	Body  any
}

// Customers tells whether the visitor may open customers.
func (f frame) Customers() bool {
	return f.Who.Role == domain.RoleSupport || f.Who.Role == domain.RoleOperator
}

// Operator tells whether the visitor runs the system.
func (f frame) Operator() bool { return f.Who.Role == domain.RoleOperator }

// Analyst tells whether the visitor sees pseudonyms.
func (f frame) Analyst() bool { return f.Who.Role == domain.RoleAnalyst }

// show answers with a page.
func (v *visit) show(name string, f frame, body any) error {
	return v.showAs(http.StatusOK, name, f, body)
}

func (v *visit) showAs(status int, name string, f frame, body any) error {
	f.Who, f.CSRF = v.who, v.csrf()
	v.console.render(v.w, v.r, status, name, f, body)
	return nil
}

func (c *Console) render(w http.ResponseWriter, r *http.Request, status int, name string, f frame, body any) {
	f.Body, f.Theme, f.Back = body, themeOf(r), "/"
	if r.Method == http.MethodGet {
		f.Back = r.URL.RequestURI()
	}
	var page bytes.Buffer
	if err := c.pages[name].ExecuteTemplate(&page, "frame", f); err != nil {
		web.CutOff(r.Context(), fmt.Errorf("rendering page %s: %w", name, err))
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	w.WriteHeader(status)
	_, _ = page.WriteTo(w) // the visitor may have gone
}

type problemView struct {
	*web.Problem
	Request string
	Retry   string // this page once more; empty: that would not help
}

// fail shows what went wrong, under the status that it has.
func (v *visit) fail(err error) {
	p, ok := errors.AsType[*web.Problem](err)
	if !ok {
		web.CutOff(v.r.Context(), err)
	}
	if p.Status == http.StatusUnauthorized {
		v.console.askToSignIn(v.w, v.r, true)
		return
	}
	view := problemView{Problem: p, Request: web.RequestOf(v.r.Context()).ID}
	if v.r.Method == http.MethodGet && p.Status >= http.StatusInternalServerError {
		view.Retry = v.r.URL.RequestURI()
	}
	_ = v.showAs(p.Status, "problem", frame{Title: p.Title}, view) // never fails
}
