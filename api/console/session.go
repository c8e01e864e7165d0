package console

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode"

	"carryon/api/web"
)

// A visitor signs in with a token, by hand or by a link that holds it behind the #, where no server or proxy sees it.
// The token then lives in a cookie that scripts can't read and other sites can't make the browser send. Every post
// carries a value that only who has the cookie can know, and is refused when the browser says that another site made it.

const (
	cookieSession = "carryon_session"
	cookieTheme   = "carryon_theme"
	fieldCSRF     = "csrf"
	maxToken      = 3900 // bytes; browsers keep cookies up to 4096
	maxForm       = 64 << 10
)

// visit is one request of somebody who has signed in.
type visit struct {
	console *Console
	w       http.ResponseWriter
	r       *http.Request
	who     web.Identity
	token   string
	now     time.Time
}

// visited lets in whoever has a good token, and shows what goes wrong as a page.
func (c *Console) visited(show func(*visit) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		v := &visit{console: c, w: w, r: r, now: c.o.Clock().UTC()}
		cookie, err := r.Cookie(cookieSession)
		if err == nil {
			v.token = cookie.Value
			v.who, err = c.o.Tokens.Verify(cookie.Value)
		}
		if err != nil || !slices.Contains(roles, v.who.Role) {
			c.askToSignIn(w, r, cookie != nil)
			return
		}
		if r.Method == http.MethodPost {
			if p := c.checkPost(w, r, v.csrf()); p != nil {
				v.fail(p)
				return
			}
		}
		if err := show(v); err != nil {
			v.fail(err)
		}
	}
}

// askToSignIn sends the visitor to the sign-in page, and back afterwards.
func (c *Console) askToSignIn(w http.ResponseWriter, r *http.Request, expired bool) {
	to := "/sign-in"
	if expired {
		setCookie(w, r, cookieSession, "", -1)
		to += "?expired=1"
	}
	if r.Header.Get("Hx-Request") == "true" {
		w.Header().Set("Hx-Redirect", to)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// checkPost reads a form, and refuses it when it was not made by one of our pages.
func (c *Console) checkPost(w http.ResponseWriter, r *http.Request, csrf string) *web.Problem {
	if err := c.cross.Check(r); err != nil {
		return web.New(web.Forbidden, "this was sent by another site").Because(err)
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return web.New(web.Malformed, "the form can't be read").Because(err)
	}
	if subtle.ConstantTimeCompare([]byte(r.PostForm.Get(fieldCSRF)), []byte(csrf)) != 1 {
		return web.New(web.Forbidden, "this form is not one of this session: go back, reload the page, and send it again")
	}
	return nil
}

// csrf is what every form of the session holds.
func (v *visit) csrf() string {
	mac := hmac.New(sha256.New, []byte(v.token))
	mac.Write([]byte("carryon console form"))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

type signInView struct {
	Expired bool
	Problem string
}

func (c *Console) signInPage(w http.ResponseWriter, r *http.Request) {
	c.render(w, r, http.StatusOK, "sign-in", frame{Title: "Sign in"}, signInView{Expired: r.URL.Query().Get("expired") != ""})
}

func (c *Console) signIn(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, why string) {
		c.render(w, r, status, "sign-in", frame{Title: "Sign in"}, signInView{Problem: why})
	}
	if err := c.cross.Check(r); err != nil {
		refuse(http.StatusForbidden, "This was sent by another site.")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		refuse(http.StatusBadRequest, "The form can't be read.")
		return
	}
	token := strings.TrimPrefix(strings.TrimSpace(r.PostForm.Get("token")), "Bearer ")
	who, err := c.o.Tokens.Verify(token)
	switch {
	case token == "":
		refuse(http.StatusUnprocessableEntity, "Paste a token first.")
	case len(token) > maxToken || err != nil:
		refuse(http.StatusUnauthorized, "This token is not valid, or not any more.")
	case !slices.Contains(roles, who.Role):
		refuse(http.StatusForbidden, "This is a token of a "+string(who.Role)+". The console is for support, analysts and operators.")
	default:
		setCookie(w, r, cookieSession, token, 0)
		http.Redirect(w, r, "/", http.StatusSeeOther)
	}
}

func (v *visit) signOut() error {
	setCookie(v.w, v.r, cookieSession, "", -1)
	v.w.Header().Set("Clear-Site-Data", `"cache"`)
	http.Redirect(v.w, v.r, "/sign-in", http.StatusSeeOther)
	return nil
}

// theme keeps the choice of dark or light: it is no secret, and needs no session.
func (c *Console) theme(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := c.cross.Check(r); err != nil || r.ParseForm() != nil {
		http.Error(w, "this was sent by another site", http.StatusForbidden)
		return
	}
	choice := r.PostForm.Get("theme")
	if choice != "dark" && choice != "light" {
		choice = "auto"
	}
	setCookie(w, r, cookieTheme, choice, 365*24*60*60)
	http.Redirect(w, r, ownPath(r.PostForm.Get("back")), http.StatusSeeOther)
}

func themeOf(r *http.Request) string {
	cookie, err := r.Cookie(cookieTheme)
	if err != nil || cookie.Value != "dark" && cookie.Value != "light" {
		return "auto"
	}
	return cookie.Value
}

// ownPath is a path of ours, whatever was asked for.
func ownPath(to string) string {
	if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.Contains(to, "\\") || strings.ContainsFunc(to, unicode.IsControl) {
		return "/"
	}
	return to
}

// setCookie sets one for the session (age 0), for so many seconds, or takes it away (negative).
func setCookie(w http.ResponseWriter, r *http.Request, name, value string, age int) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", MaxAge: age, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: r.TLS != nil || r.Header.Get("X-Forwarded-Proto") == "https",
	})
}
