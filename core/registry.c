/* SPDX-License-Identifier: MIT
 *
 * registry.c - which plugins there are: directories in their order, files in them, names, aliases and URI schemes,
 * each taken once. What a configuration sees is found anew at each question, so that it has no state of its own; what
 * was loaded is kept by the loader. Knows no transport and no command.
 */
#include "loader.h"
#include "store.h"

#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct directory {
    char *path;
    char *why;  /* it is not searched; NULL: it is */
    bool named; /* by somebody, and not only the installed one */
} directory;

typedef struct candidate {
    char *path, *name;
    const struct candidate *shadow; /* one of that name found earlier */
    const leat_plugin *plugin;
    char *refused; /* the sentence, once it was tried and is not good */
    int error;     /* that goes with it */
} candidate;

typedef struct view {
    directory *directories;
    size_t n_directories;
    candidate *candidates;
    size_t n_candidates;
} view;

/* ---- directories and files -------------------------------------------------------------------------------------- */

static void view_fini(view *v)
{
    for (size_t i = 0; i < v->n_directories; i++) {
        free(v->directories[i].path);
        free(v->directories[i].why);
    }
    for (size_t i = 0; i < v->n_candidates; i++) {
        free(v->candidates[i].path);
        free(v->candidates[i].name);
        free(v->candidates[i].refused);
    }
    free(v->directories);
    free(v->candidates);
}

static int no_memory(void)
{
    return leat_fail(ENOMEM, "plugins: out of memory");
}

static int is_shared_object(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name);
    return length > 3 && entry->d_name[0] != '.' && strcmp(entry->d_name + length - 3, ".so") == 0;
}

static int compare_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int add_candidate(view *v, const char *dir, const char *file)
{
    candidate *grown = reallocarray(v->candidates, v->n_candidates + 1, sizeof(*grown));
    if (!grown)
        return no_memory();
    v->candidates = grown;
    candidate made = {.name = strndup(file, strlen(file) - 3)};
    if (asprintf(&made.path, "%s/%s", dir, file) < 0)
        made.path = NULL;
    if (!made.name || !made.path) {
        free(made.name);
        free(made.path);
        return no_memory();
    }
    v->candidates[v->n_candidates++] = made;
    return 0;
}

/* Fills in why a directory is not searched, or finds its files. */
static int search_directory(view *v, directory *d)
{
    struct stat status;
    struct dirent **entries;
    const char *why = NULL;
    int n = 0, r = 0;
    if (stat(d->path, &status) < 0)
        why = errno == ENOENT ? "it does not exist" : strerror(errno);
    else if (!S_ISDIR(status.st_mode))
        why = "it is not a directory";
    else if (!(why = leati_loader_distrust(&status)) &&
             (n = scandir(d->path, &entries, is_shared_object, compare_bytes)) < 0)
        why = strerror(errno);
    if (why) {
        d->why = strdup(why);
        return d->why ? 0 : no_memory();
    }
    for (int i = 0; i < n; i++) {
        if (r == 0)
            r = add_candidate(v, d->path, entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return r;
}

static int add_directory(view *v, const char *path, size_t length, bool named)
{
    directory *grown = reallocarray(v->directories, v->n_directories + 1, sizeof(*grown));
    if (!grown)
        return no_memory();
    v->directories = grown;
    char *given = strndup(path, length);
    char *absolute = given ? realpath(given, NULL) : NULL;
    if (given && !absolute) {
        /* It is not there: named all the same, to be told of. */
        char cwd[PATH_MAX];
        const char *base = given[0] != '/' && getcwd(cwd, sizeof(cwd)) ? cwd : "";
        if (asprintf(&absolute, "%s%s%s", base, *base ? "/" : "", given) < 0)
            absolute = NULL;
    }
    free(given);
    if (!absolute)
        return no_memory();
    for (size_t i = 0; i < v->n_directories; i++)
        if (strcmp(v->directories[i].path, absolute) == 0) {
            free(absolute);
            return 0;
        }
    v->directories[v->n_directories++] = (directory){.path = absolute, .named = named};
    return search_directory(v, &v->directories[v->n_directories - 1]);
}

/* The directories of --plugin-dir, then code's, then the file's: all of them, the nearest to the user first. */
static int add_configured(view *v, const leat_config *cfg)
{
    const leati_entry *entry = leati_store_entry(cfg, "leat", "plugin_dir");
    int r = 0;
    for (int origin = LEATI_FROM_ARGS; entry && origin >= LEATI_FROM_FILE; origin--)
        for (size_t i = 0; i < entry->n_values; i++) {
            const char *item, *cursor = entry->values[i].text;
            size_t length;
            while (r == 0 && (int)entry->values[i].origin == origin && leati_list_next(&cursor, &item, &length))
                if (length > 0) /* a file that is only checked may have such a mistake */
                    r = add_directory(v, item, length, true);
        }
    return r;
}

static int view_init(view *v, const leat_config *cfg)
{
    *v = (view){0};
    /* NULL in a privileged process, where the environment is somebody else's word. */
    const char *path = secure_getenv("LEAT_PLUGIN_PATH");
    int r = add_configured(v, cfg);
    while (r == 0 && path && *path) {
        size_t length = strcspn(path, ":");
        if (length > 0)
            r = add_directory(v, path, length, true);
        path += length + (path[length] == ':');
    }
    if (r == 0)
        r = add_directory(v, LEATI_PLUGIN_DIR, strlen(LEATI_PLUGIN_DIR), false);
    if (r < 0) {
        view_fini(v);
        return r;
    }
    for (size_t i = 0; i < v->n_candidates; i++)
        for (size_t j = 0; j < i && !v->candidates[i].shadow; j++)
            if (strcmp(v->candidates[i].name, v->candidates[j].name) == 0)
                v->candidates[i].shadow = &v->candidates[j];
    return 0;
}

/* ---- names, aliases, schemes ------------------------------------------------------------------------------------ */

static bool has_word(const char *const *words, const char *wanted)
{
    for (; words && *words; words++)
        if (strcmp(*words, wanted) == 0)
            return true;
    return false;
}

static int check_taken(const view *v, const candidate *c, const leat_plugin *plugin)
{
    for (const candidate *other = v->candidates; other < v->candidates + v->n_candidates; other++) {
        for (const char *const *alias = plugin->aliases; alias && *alias; alias++) {
            if (other != c && strcmp(other->name, *alias) == 0)
                return leat_fail(ELIBBAD, "%s: its alias \"%s\" is the name of %s", c->path, *alias, other->path);
            if (other < c && other->plugin && has_word(other->plugin->aliases, *alias))
                return leat_fail(ELIBBAD, "%s: its alias \"%s\" is taken by %s", c->path, *alias, other->path);
        }
        for (const char *const *scheme = plugin->schemes; scheme && *scheme; scheme++)
            if (other < c && other->plugin && has_word(other->plugin->schemes, *scheme))
                return leat_fail(ELIBBAD, "%s: its URI scheme \"%s\" is taken by %s", c->path, *scheme, other->path);
    }
    return 0;
}

/* Loads one and keeps what comes of it. What a later one may not take, earlier ones must have been tried for. */
static int try(view *v, candidate *c)
{
    const leat_plugin *plugin;
    int r = 0;
    if (c->plugin)
        return 0;
    if (c->refused)
        return leat_fail(-c->error, "%s", c->refused);
    if (!leati_is_plugin_name(c->name))
        r = leat_fail(ELIBBAD, "%s: a plugin's name may have the characters a-z, 0-9 and - only", c->path);
    else if (c->shadow)
        r = leat_fail(ELIBBAD, "%s: the name \"%s\" is taken by %s, which is found first", c->path, c->name,
                      c->shadow->path);
    if (r == 0)
        r = leati_loader_load(c->path, &plugin);
    if (r == 0)
        r = check_taken(v, c, plugin);
    if (r == 0) {
        c->plugin = plugin;
        return 0;
    }
    c->error = r;
    c->refused = strdup(leat_error());
    return c->refused ? r : no_memory();
}

/* The same for one that nobody has asked for by name: that it is refused is worth one notice, no more. */
static const leat_plugin *try_found(view *v, candidate *c)
{
    if (try(v, c) < 0 && !c->shadow && leati_loader_is_news(c->path, leat_error()))
        leat_logf(LEAT_LOG_NOTICE, "plugin %s", leat_error());
    return c->plugin;
}

static int not_found(const view *v, leat_plugin_kind kind, const char *name)
{
    char *text = NULL;
    size_t size;
    leati_guess guess = {name, NULL, 0};
    FILE *sentence = open_memstream(&text, &size);
    if (!sentence)
        return no_memory();
    fprintf(sentence, "there is no %s \"%s\"", leati_plugin_kind_name(kind), name);
    for (const candidate *c = v->candidates; c < v->candidates + v->n_candidates; c++) {
        if (!c->plugin || c->plugin->kind != kind)
            continue;
        leati_guess_consider(&guess, c->name);
        for (const char *const *alias = c->plugin->aliases; alias && *alias; alias++)
            leati_guess_consider(&guess, *alias);
    }
    if (guess.best)
        fprintf(sentence, "; did you mean %s?", guess.best);
    const char *separator = "";
    fprintf(sentence, " (looked for %s.so in ", name);
    for (const directory *d = v->directories; d < v->directories + v->n_directories; d++)
        if (!d->why) {
            fprintf(sentence, "%s%s", separator, d->path);
            separator = ", ";
        }
    if (!*separator)
        fputs("no directory", sentence);
    for (const directory *d = v->directories; d < v->directories + v->n_directories; d++)
        if (d->why)
            fprintf(sentence, "; not in %s: %s", d->path, d->why);
    fputs(")", sentence);
    int r = fclose(sentence) == 0 ? leat_fail(ENOENT, "%s", text) : no_memory();
    free(text);
    return r;
}

static int find(view *v, leat_plugin_kind kind, const char *name, const leat_plugin **ret_plugin)
{
    const char *kind_name = leati_plugin_kind_name(kind);
    if (!leati_is_plugin_name(name))
        return leat_fail(EINVAL, "\"%s\" cannot be the name of a %s: only a-z, 0-9 and - are in one", name, kind_name);
    for (candidate *c = v->candidates; c < v->candidates + v->n_candidates; c++) {
        if (strcmp(c->name, name) != 0)
            continue;
        int r = try(v, c);
        if (r == 0 && c->plugin->kind != kind)
            r = leat_fail(EINVAL, "%s: is a %s, and no %s", c->path, leati_plugin_kind_name(c->plugin->kind),
                          kind_name);
        if (r == 0)
            *ret_plugin = c->plugin;
        return r;
    }
    for (candidate *c = v->candidates; c < v->candidates + v->n_candidates; c++) {
        const leat_plugin *plugin = try_found(v, c);
        if (plugin && plugin->kind == kind && has_word(plugin->aliases, name)) {
            *ret_plugin = plugin;
            return 0;
        }
    }
    return not_found(v, kind, name);
}

int leati_registry_find(const leat_config *cfg, leat_plugin_kind kind, const char *name, const leat_plugin **ret_plugin)
{
    view v;
    int r = view_init(&v, cfg);
    if (r < 0)
        return r;
    r = find(&v, kind, name, ret_plugin);
    view_fini(&v);
    return r;
}

int leati_registry_transport(const leat_config *cfg, const char *name, const leat_plugin **ret_plugin)
{
    return leati_registry_find(cfg, LEAT_TRANSPORT, name, ret_plugin);
}

int leati_registry_scheme(const leat_config *cfg, const char *scheme, const leat_plugin **ret_plugin)
{
    view v;
    int r = view_init(&v, cfg);
    if (r < 0)
        return r;
    r = -ENOENT;
    for (candidate *c = v.candidates; r < 0 && c < v.candidates + v.n_candidates; c++) {
        const leat_plugin *plugin = try_found(&v, c);
        if (plugin && plugin->kind == LEAT_TRANSPORT && has_word(plugin->schemes, scheme)) {
            *ret_plugin = plugin;
            r = 0;
        }
    }
    if (r < 0)
        leat_fail(ENOENT, "there is no transport for %s:// addresses; `shmadm plugins` shows those that were found",
                  scheme);
    view_fini(&v);
    return r;
}

int leati_registry_each(const leat_config *cfg, leat_plugin_kind kind, int (*fn)(const leat_plugin *plugin, void *user),
                        void *user)
{
    view v;
    int r = view_init(&v, cfg);
    if (r < 0)
        return r;
    for (candidate *c = v.candidates; r == 0 && c < v.candidates + v.n_candidates; c++) {
        const leat_plugin *plugin = try_found(&v, c);
        if (plugin && plugin->kind == kind)
            r = fn(plugin, user);
    }
    view_fini(&v);
    return r;
}

/* ---- the report ------------------------------------------------------------------------------------------------- */

static const char *join(const char *const *words, char *buffer, size_t size)
{
    size_t used = 0;
    buffer[0] = '\0';
    for (; words && *words && used < size; words++)
        used += (size_t)snprintf(buffer + used, size - used, "%s%s", used ? ", " : "", *words);
    return buffer;
}

static const char *join_capabilities(const leat_plugin *plugin, char *buffer, size_t size)
{
    static const struct {
        uint64_t bit;
        const char *name;
    } others[] = {
        {LEAT_CAP_SPIN, "spin"},     {LEAT_CAP_NO_COPY, "no-copy"}, {LEAT_CAP_REDELIVERS, "redelivers"},
        {LEAT_CAP_REMOTE, "remote"}, {LEAT_CAP_ADMIN, "admin"},
    };
    const char *words[LEAT_PATTERNS + sizeof(others) / sizeof(others[0]) + 1];
    size_t n = 0;
    if (plugin->kind == LEAT_TRANSPORT) {
        for (int p = 0; p < LEAT_PATTERNS; p++)
            if (plugin->capabilities & LEAT_CAP_PATTERN(p))
                words[n++] = leat_pattern_name((leat_pattern)p);
        for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
            if (plugin->capabilities & others[i].bit)
                words[n++] = others[i].name;
    }
    words[n] = NULL;
    return join(words, buffer, size);
}

static int report_directory(const directory *d, leat_plugin_info_fn *fn, void *user)
{
    char text[512];
    snprintf(text, sizeof(text), "the directory is not searched: %s", d->why);
    return fn(&(leat_plugin_info){d->path, "", "", "", "", "", "", text, NULL}, user);
}

static int report_refused(const candidate *c, const char *sentence, leat_plugin_info_fn *fn, void *user)
{
    /* The path is told apart already. */
    size_t length = strlen(c->path);
    if (strncmp(sentence, c->path, length) == 0 && strncmp(sentence + length, ": ", 2) == 0)
        sentence += length + 2;
    return fn(&(leat_plugin_info){c->path, c->name, "", "", "", "", "", sentence, NULL}, user);
}

static int report_plugin(const candidate *c, leat_plugin_info_fn *fn, void *user)
{
    const leat_plugin *plugin = c->plugin;
    char aliases[256], capabilities[256];
    leat_plugin_info info = {
        .path = c->path,
        .name = plugin->name,
        .kind = leati_plugin_kind_name(plugin->kind),
        .version = plugin->version,
        .summary = plugin->summary,
        .aliases = join(plugin->aliases, aliases, sizeof(aliases)),
        .capabilities = join_capabilities(plugin, capabilities, sizeof(capabilities)),
    };
    char *unusable = NULL;
    if (plugin->probe && plugin->probe() < 0)
        info.unusable = unusable = strdup(leat_error());
    int r = fn(&info, user);
    free(unusable);
    return r;
}

int leati_registry_report(const leat_config *cfg, leat_plugin_info_fn *fn, void *user)
{
    view v;
    int r = view_init(&v, cfg);
    if (r < 0)
        return r;
    for (const directory *d = v.directories; r == 0 && d < v.directories + v.n_directories; d++)
        if (d->why && d->named)
            r = report_directory(d, fn, user);
    for (candidate *c = v.candidates; r == 0 && c < v.candidates + v.n_candidates; c++) {
        if (try(&v, c) == 0)
            r = report_plugin(c, fn, user);
        else
            r = report_refused(c, c->refused ? c->refused : leat_error(), fn, user);
    }
    view_fini(&v);
    return r;
}
