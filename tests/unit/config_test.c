/* SPDX-License-Identifier: MIT
 *
 * config_test.c - which value wins, what a file may not say, and what settings are made of it.
 */
#include "files.h"
#include "internal.h"

#include <leat/plugin.h>

#include <signal.h>
#include <sys/wait.h>

static leat_config *config(void)
{
    leat_config *cfg;
    unsetenv("LEAT_SESSION"); /* the harness's, which would win over files */
    check_ok(leat_config_new(&cfg));
    return cfg;
}

static const char *get(const leat_config *cfg, const char *section, const char *key)
{
    const char *value;
    check_ok(leat_config_get(cfg, section, key, &value));
    return value;
}

/* Loading `text` fails with a sentence that begins with the file and `line`, and has `part` in it. */
static void refused(const char *text, int line, const char *part)
{
    leat_config *cfg = config();
    const char *path = write_file("bad.ini", text);
    char place[600];
    snprintf(place, sizeof(place), "%s:%d: ", path, line);
    check_error(leat_config_load(cfg, path), EINVAL);
    check(strncmp(leat_error(), place, strlen(place)) == 0 || (fprintf(stderr, "# %s\n", leat_error()), false));
    check_contains(leat_error(), part);
    check(!leati_config_has_section(cfg, "channel data"));
    leat_config_free(cfg);
}

static void the_later_origin_wins_whatever_the_order(void)
{
    leat_config *cfg = config();
    char program[] = "program", option[] = "--set", value[] = "channel data.queue=3000";
    char *argv[] = {program, option, value, NULL};
    int argc = 3;
    const char *path = write_file("a.ini", "[channel data]\nqueue = 1000\nwait = poll\n");
    check_string(get(cfg, "channel data", "queue"), "4096");
    check_ok(leat_config_set(cfg, "channel data", "queue", "2000"));
    check_ok(leat_config_load(cfg, path));
    check_string(get(cfg, "channel data", "queue"), "2000");
    check_string(get(cfg, "channel data", "wait"), "poll");
    check_ok(leat_config_args(cfg, &argc, argv));
    check_string(get(cfg, "channel data", "queue"), "3000");
    check_ok(leat_config_set(cfg, "channel data", "queue", "2001"));
    check_string(get(cfg, "channel data", "queue"), "3000");
    leat_config_free(cfg);
}

static void the_environment_names_the_session_between_file_and_code(void)
{
    leat_config *cfg;
    setenv("LEAT_SESSION", "from-environment", 1);
    check_ok(leat_config_new(&cfg));
    check_ok(leat_config_load(cfg, write_file("a.ini", "[leat]\nsession = from-file\n")));
    check_string(get(cfg, "leat", "session"), "from-environment");
    check_ok(leat_config_set(cfg, "leat", "session", "from-code"));
    check_string(get(cfg, "leat", "session"), "from-code");
    leat_config_free(cfg);
}

static void a_later_file_replaces_key_by_key(void)
{
    leat_config *cfg = config();
    check_ok(leat_config_load(cfg, write_file("a.ini", "[channel data]\naddress = a\naddress = b, c\nwait = poll\n")));
    check_string(get(cfg, "channel data", "address"), "a, b, c");
    check_ok(leat_config_load(cfg, write_file("b.ini", "[channel data]\naddress = d\n")));
    check_string(get(cfg, "channel data", "address"), "d");
    check_string(get(cfg, "channel data", "wait"), "poll");
    leat_config_free(cfg);
}

static void a_file_with_a_mistake_changes_nothing(void)
{
    leat_config *cfg = config();
    check_error(leat_config_load(cfg, write_file("a.ini", "[leat]\nsession = x\n[channel data]\nqueue = ten\n")),
                EINVAL);
    check_contains(leat_error(), "a.ini:4: [channel data] queue: \"ten\" is not a whole number");
    check_string(get(cfg, "leat", "session"), "default");
    check(!leati_config_has_section(cfg, "channel data"));
    leat_config_free(cfg);
}

static void a_file_that_cannot_be_read_says_why(void)
{
    leat_config *cfg = config();
    const char *missing = temporary("missing.ini");
    check_error(leat_config_load(cfg, missing), ENOENT);
    check_contains(leat_error(), missing);
    check_error(leat_config_load(cfg, leat_test_tmpdir()), EISDIR);
    check_contains(leat_error(), leat_test_tmpdir());
    leat_config_free(cfg);
}

static void unknown_keys_and_sections_are_refused_with_a_guess(void)
{
    refused("[leat]\nsesion = x\n", 2, "[leat] sesion: there is no such key; did you mean session?");
    refused("\n[chanel data]\nqueue = 1\n", 2, "[chanel data]: there is no such section; did you mean [channel data]?");
    refused("[else]\n", 1, "there is no such section; there are [leat]");
    refused("[channel]\n", 1, "the name is missing");
    refused("[leat x]\n", 1, "has no name");
    refused("[channel da ta]\n", 1, "the name of a channel may have");
    refused("[transport Zmq]\n", 1, "the name of a transport may have");
}

static void a_key_given_twice_is_refused_unless_it_is_a_list(void)
{
    refused("[channel data]\nqueue = 8\n; between\nqueue = 9\n", 4, "[channel data] queue: is set already in line 2");
    refused("[channel data]\nwait = poll\n[leat]\n[channel data]\nwait = poll\n", 5, "is set already in line 2");
}

static void nothing_is_cut_without_a_word(void)
{
    char text[1000], name[64];
    memset(name, 'n', sizeof(name));
    snprintf(text, sizeof(text), "[channel %.41s]\nqueue=8\n", name);
    leat_config *cfg = config();
    check_ok(leat_config_load(cfg, write_file("a.ini", text)));
    snprintf(text, sizeof(text), "channel %.41s", name);
    check(leati_config_has_section(cfg, text));
    snprintf(text, sizeof(text), "[channel %.42s]\nqueue=8\n", name);
    refused(text, 1, "longer than 49 characters");

    char value[300];
    memset(value, 'v', sizeof(value));
    snprintf(text, sizeof(text), "[leat]\nsession=%.191s\n", value);
    check_ok(leat_config_load(cfg, write_file("a.ini", text)));
    check_int((long long)strlen(get(cfg, "leat", "session")), 191);
    snprintf(text, sizeof(text), "[leat]\nsession=%.192s\n", value);
    refused(text, 2, "longer than 199 characters");
    snprintf(text, sizeof(text), "[leat]\n; %.290s\nsession=a\n", value);
    check_ok(leat_config_load(cfg, write_file("a.ini", text)));
    check_string(get(cfg, "leat", "session"), "a");
    leat_config_free(cfg);
}

static void lines_that_mean_nothing_are_refused(void)
{
    refused("queue = 8\n", 1, "stands before the first [section]");
    refused("[channel data\nqueue = 8\n", 1, "lacks its ]");
    refused("[]\n", 1, "has no name");
    refused("[channel data] queue = 8\n", 1, "text behind the section heading");
    refused("[channel data]\nqueue\n[leat]\n", 2, "neither a [section] nor key = value");
    refused("[channel data]\nqueue", 2, "neither a [section] nor key = value");
    refused("[channel data]\n = 8\n", 2, "cannot go on");
    refused("[channel data]\n= 8\n", 2, "no key before");
    refused("[channel data]\nqueue =\n", 2, "queue: has no value");
    refused("[channel data]\naddress = a,\n    b\n", 2, "has an empty entry");
    refused("[channel data]\naddress = a\n    tcp://*:1\n", 3, "cannot go on in the next line");
    leat_config *cfg = config();
    const char *path = temporary("zero.ini");
    write_bytes(path, "[leat]\nsess\0ion = x\n", 20);
    check_error(leat_config_load(cfg, path), EINVAL);
    check_contains(leat_error(), "zero.ini:2: the line has a zero byte in it");
    leat_config_free(cfg);
}

static void what_people_write_is_understood(void)
{
    leat_config *cfg = config();
    check_ok(leat_config_load(cfg, write_file("a.ini", "\xef\xbb\xbf# a comment\r\n  [channel   data]  ; of mine\r\n"
                                                       "   queue=64 ; slots\r\n\taddress = a;b, tcp://*:5555\r\n\r\n"
                                                       "[channel empty]\n[leat]\nsession = last")));
    check_string(get(cfg, "channel data", "queue"), "64");
    check_string(get(cfg, "channel data", "address"), "a;b, tcp://*:5555");
    check_string(get(cfg, "leat", "session"), "last");
    check(leati_config_has_section(cfg, "channel empty"));
    leat_config_free(cfg);
}

static void code_is_checked_like_a_file(void)
{
    leat_config *cfg = config();
    const char *value;
    check_error(leat_config_set(cfg, "channel data", "queue", "ten"), EINVAL);
    check_string(leat_error(), "[channel data] queue: \"ten\" is not a whole number");
    check_error(leat_config_set(cfg, "channel data", "quue", "10"), EINVAL);
    check_contains(leat_error(), "did you mean queue?");
    check_error(leat_config_set(cfg, "chan data", "queue", "10"), EINVAL);
    check(!leati_config_has_section(cfg, "channel data"));
    check_error(leat_config_get(cfg, "channel data", "type", &value), ENOENT);
    check_error(leat_config_get(cfg, "channel data", "colour", &value), ENOENT);
    check_ok(leat_config_set(cfg, "channel data", "address", "a"));
    check_ok(leat_config_set(cfg, "channel data", "address", "b"));
    check_string(get(cfg, "channel data", "address"), "b");
    leat_config_free(cfg);
}

static void a_copy_shares_nothing(void)
{
    leat_config *cfg = config(), *copy;
    check_ok(leat_config_load(cfg, write_file("a.ini", "[channel data]\naddress = a\naddress = b\nqueue = 8\n")));
    check_ok(leat_config_set(cfg, "leat", "session", "one"));
    check_ok(leati_config_copy(cfg, &copy));
    check_ok(leat_config_set(cfg, "leat", "session", "two"));
    check_ok(leat_config_set(cfg, "channel data", "queue", "16"));
    check_string(get(copy, "leat", "session"), "one");
    check_string(get(copy, "channel data", "queue"), "8");
    leat_config_free(cfg);
    check_string(get(copy, "channel data", "address"), "a, b");
    leat_config_free(copy);
}

static int collect_section(const char *section, void *user)
{
    strcat(strcat(user, section), ";");
    return 0;
}

static void sections_come_in_the_order_in_which_they_appeared(void)
{
    leat_config *cfg = config();
    char seen[200] = "";
    check_ok(leat_config_load(cfg, write_file("a.ini", "[channel b]\n[channel a]\n[leat]\n[channel b]\nqueue=8\n")));
    check_ok(leati_config_sections(cfg, collect_section, seen));
    check_string(seen, "channel b;channel a;leat;");
    leat_config_free(cfg);
}

static const leat_key *const channel_tables[] = {leati_channel_keys, NULL};

static void settings_are_values_with_defaults(void)
{
    leat_config *cfg = config();
    leat_settings *s;
    check_ok(leat_config_load(cfg, write_file("a.ini", "[channel data]\naddress = a , b\naddress = c\nlinger = 2s\n"
                                                       "queue_bytes = 1M\nwait = sleep\n")));
    check_ok(leati_settings_new(cfg, "channel data", channel_tables, &s));
    leat_config_free(cfg);
    check_int((long long)leat_setting_count(s, "address"), 3);
    check_string(leat_setting_at(s, "address", 0), "a");
    check_string(leat_setting_at(s, "address", 1), "b");
    check_string(leat_setting_at(s, "address", 2), "c");
    check_int((long long)leat_setting_count(s, "transport"), 1);
    check_string(leat_setting_at(s, "transport", 0), "shmem");
    check(!leat_setting_given(s, "transport"));
    check(leat_setting_given(s, "linger"));
    check_int(leat_setting_int(s, "linger"), 2000);
    check_int(leat_setting_int(s, "queue_bytes"), 1 << 20);
    check_int(leat_setting_int(s, "queue"), 4096);
    check_int(leat_setting_int(s, "wait"), 1);
    check_string(leat_setting(s, "wait"), "sleep");
    check(leat_setting(s, "type") == NULL);
    check(!leat_setting_given(s, "max_msg_size"));
    leati_settings_free(s);
}

static void settings_of_a_section_that_is_not_there_are_the_defaults(void)
{
    leat_config *cfg = config();
    leat_settings *s;
    check_ok(leati_settings_new(cfg, "channel nowhere", channel_tables, &s));
    check_int(leat_setting_int(s, "queue"), 4096);
    leati_settings_free(s);
    leat_config_free(cfg);
}

static void a_plugins_keys_are_checked_when_settings_are_made(void)
{
    static const leat_key keys[] = {{.name = "heap_size", .type = LEAT_KEY_SIZE, .def = "1G", .help = "x"},
                                    {.name = NULL}};
    const leat_key *const tables[] = {keys, NULL};
    leat_config *cfg = config();
    leat_settings *s;
    check_ok(leat_config_load(cfg, write_file("a.ini", "[transport x]\nheap_size = 2M\n")));
    check_ok(leati_settings_new(cfg, "transport x", tables, &s));
    check_int(leat_setting_int(s, "heap_size"), 2 << 20);
    leati_settings_free(s);
    check_ok(leat_config_load(cfg, write_file("b.ini", "\n[transport x]\nheap_size = big\n")));
    check_error(leati_settings_new(cfg, "transport x", tables, &s), EINVAL);
    check_contains(leat_error(), "b.ini:3: [transport x] heap_size: \"big\" is not a size");
    check_ok(leat_config_load(cfg, write_file("c.ini", "[transport x]\nheap_size = 1M\nheap_size = 2M\n")));
    check_error(leati_settings_new(cfg, "transport x", tables, &s), EINVAL);
    check_contains(leat_error(), "c.ini:3: [transport x] heap_size: is set already in line 2");
    check_ok(leat_config_load(cfg, write_file("d.ini", "[transport x]\nheap_size = 1M\nheap_sise = 2M\n")));
    check_error(leati_settings_new(cfg, "transport x", tables, &s), EINVAL);
    check_contains(leat_error(), "d.ini:3: [transport x] heap_sise: there is no such key; did you mean heap_size?");
    leat_config_free(cfg);
}

static void ask_for_an_unknown_key(void *settings)
{
    check(freopen("/dev/null", "w", stderr) != NULL);
    leat_setting(settings, "colour");
}

static void asking_for_a_key_that_no_table_has_aborts(void)
{
    leat_config *cfg = config();
    leat_settings *s;
    check_ok(leati_settings_new(cfg, "leat", (const leat_key *const[]){leati_process_keys, NULL}, &s));
    pid_t pid = leat_test_fork(ask_for_an_unknown_key, s);
    int status;
    check(waitpid(pid, &status, 0) == pid);
    check(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    leati_settings_free(s);
    leat_config_free(cfg);
}

static void the_default_file_is_the_environments(void)
{
    leat_config *cfg = config();
    char program[] = "program", *argv[] = {program, NULL};
    int argc = 1;
    setenv("LEAT_CONFIG", write_file("e.ini", "[channel data]\nqueue = 77\n"), 1);
    check_ok(leat_config_args(cfg, &argc, argv));
    check_string(get(cfg, "channel data", "queue"), "77");
    setenv("LEAT_CONFIG", temporary("missing.ini"), 1);
    check_error(leat_config_args(cfg, &argc, argv), ENOENT);
    leat_config_free(cfg);
}

static const leat_test tests[] = {
    {"the later origin wins whatever the order", the_later_origin_wins_whatever_the_order, 0},
    {"the environment names the session between file and code", the_environment_names_the_session_between_file_and_code,
     0},
    {"a later file replaces key by key", a_later_file_replaces_key_by_key, 0},
    {"a file with a mistake changes nothing", a_file_with_a_mistake_changes_nothing, 0},
    {"a file that cannot be read says why", a_file_that_cannot_be_read_says_why, 0},
    {"unknown keys and sections are refused with a guess", unknown_keys_and_sections_are_refused_with_a_guess, 0},
    {"a key given twice is refused unless it is a list", a_key_given_twice_is_refused_unless_it_is_a_list, 0},
    {"nothing is cut without a word", nothing_is_cut_without_a_word, 0},
    {"lines that mean nothing are refused", lines_that_mean_nothing_are_refused, 0},
    {"what people write is understood", what_people_write_is_understood, 0},
    {"code is checked like a file", code_is_checked_like_a_file, 0},
    {"a copy shares nothing", a_copy_shares_nothing, 0},
    {"sections come in the order in which they appeared", sections_come_in_the_order_in_which_they_appeared, 0},
    {"settings are values with defaults", settings_are_values_with_defaults, 0},
    {"settings of a section that is not there are the defaults",
     settings_of_a_section_that_is_not_there_are_the_defaults, 0},
    {"a plugin's keys are checked when settings are made", a_plugins_keys_are_checked_when_settings_are_made, 0},
    {"asking for a key that no table has aborts", asking_for_a_key_that_no_table_has_aborts, 0},
    {"the default file is the environment's", the_default_file_is_the_environments, 0},
    {NULL, NULL, 0},
};
LEAT_TEST_MAIN(tests)
