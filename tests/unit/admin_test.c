/* SPDX-License-Identifier: MIT
 *
 * admin_test.c - all mistakes of a file at once, and what transports have on the machine in one list. The transports
 * are copies of tests/mocks/bad/chameleon.c.
 */
#include "files.h"

#include <leat/admin.h>

#include <unistd.h>

static leat_admin *admin;

static void begin_as(const leat_admin_options *options)
{
    leat_config *cfg;
    unsetenv("LEAT_PLUGIN_PATH");
    check_ok(leat_config_new(&cfg));
    check_ok(leat_config_set(cfg, "leat", "plugin_dir", temporary("p")));
    put_plugin("p", "x", "alias shmem\nscheme x\n");
    put_plugin("p", "y", "");
    put_plugin("p", "look", "kind 2\n");
    check_ok(leat_admin_new(cfg, options, &admin));
    leat_config_free(cfg);
}

static void begin(void)
{
    begin_as(NULL);
}

static void end(void)
{
    leat_admin_free(admin);
}

static char text[4000];

static int add(const char *line, ...) __attribute__((format(printf, 1, 2)));
static int add(const char *line, ...)
{
    va_list values;
    va_start(values, line);
    vsnprintf(text + strlen(text), sizeof(text) - strlen(text), line, values);
    va_end(values);
    return 0;
}

static int add_mistake(const char *path, int line, const char *sentence, void *user)
{
    check_string(path, user);
    return add("%d: %s\n", line, sentence);
}

static int mistakes(const char *ini)
{
    const char *path = write_file("a.ini", ini);
    text[0] = '\0';
    return leat_admin_check(admin, path, add_mistake, (void *)path);
}

static void a_right_file_has_no_mistake(void)
{
    begin();
    check_int(mistakes("[leat]\nsession = a\n[transport x]\ncolour = green\n[command look]\ncolour = brown\n"
                       "[channel data]\ntype = push\nmethod = bind\naddress = /data, x://there\ntransport = shmem, y\n"
                       "speed = 4\n"),
              0);
    check_string(text, "");
    end();
}

static void all_mistakes_are_told_in_the_order_of_lines(void)
{
    begin();
    check_int(mistakes("[leat]\n"            /* 1 */
                       "sesion = a\n"        /* 2 */
                       "log_level = loud\n"  /* 3 */
                       "[channel data]\n"    /* 4 */
                       "type = push\n"       /* 5 */
                       "queue = ten\n"       /* 6 */
                       "sped = 3\n"          /* 7 */
                       "speed = fast\n"      /* 8 */
                       "nonsense\n"          /* 9 */
                       "[chanel other]\n"    /* 10 */
                       "anything = goes\n"   /* 11 */
                       "[transport x]\n"     /* 12 */
                       "colour = red\n"      /* 13 */
                       "[transport gone]\n"  /* 14 */
                       "[transport shmem]\n" /* 15 */
                       "[command lok]\n"),   /* 16 */
              13);
    check_contains(text, "2: [leat] sesion: there is no such key; did you mean session?\n"
                         "3: [leat] log_level: \"loud\" is not one of error, warning, notice, info, debug\n"
                         "4: [channel data] address: is missing\n"
                         "4: [channel data] method: is missing; one of bind|connect\n"
                         "6: [channel data] queue: \"ten\" is not a whole number\n"
                         "7: [channel data] sped: there is no such key; did you mean speed?\n"
                         "8: [channel data] speed: \"fast\" is not a whole number\n"
                         "9: neither a [section] nor key = value\n"
                         "10: [chanel other]: there is no such section; did you mean [channel other]?\n"
                         "13: [transport x] colour: \"red\" is not one of green, brown\n"
                         "14: [transport gone]: there is no transport \"gone\"");
    check_contains(text, "\n15: [transport shmem]: \"shmem\" is another name of x, and its section is [transport x]\n"
                         "16: [command lok]: there is no command \"lok\"; did you mean look?");
    end();
}

static void a_channels_transports_must_be_there_and_carry_it(void)
{
    begin();
    check_int(mistakes("[channel a]\ntype = pub\nmethod = bind\naddress = a\n"
                       "[channel b]\ntype = push\nmethod = bind\naddress = tcp://h:1\ntransport = x, zmk\n"
                       "[channel c]\ntype = req\nmethod = bind\naddress = x://h, a b\ntransport = y\n"),
              5);
    check_contains(text, "8: [channel b] address: there is no transport for tcp:// addresses");
    check_contains(text, "9: [channel b] transport: there is no transport \"zmk\"");
    check_contains(text, "13: [channel c] address: \"a b\" is neither a URI nor a plain name");
    check_contains(text, "13: [channel c] type: transport x does not carry req\n");
    check_contains(text, "14: [channel c] type: transport y does not carry req\n");
    end();
}

static void the_files_own_plugin_directory_counts(void)
{
    char ini[700];
    begin();
    put_plugin("q", "z", "");
    snprintf(ini, sizeof(ini), "[leat]\nplugin_dir = %s\n[transport z]\ncolour = green\n", temporary("q"));
    check_int(mistakes(ini), 0);
    end();
}

static void an_empty_plugin_directory_is_not_the_current_one(void)
{
    begin();
    put_plugin("q", "z", "");
    check(chdir(temporary("q")) == 0);
    check_int(mistakes("[leat]\nplugin_dir = ,\n[transport z]\n"), 2);
    check_contains(text,
                   "2: [leat] plugin_dir: \",\" has an empty entry\n3: [transport z]: there is no transport \"z\"");
    end();
}

static int stop(const char *path, int line, const char *sentence, void *user)
{
    (void)path, (void)line, (void)sentence;
    ++*(int *)user;
    return -EPIPE;
}

static void a_file_that_is_not_there_is_no_mistake_but_an_error(void)
{
    int n = 0;
    begin();
    check_error(leat_admin_check(admin, temporary("none.ini"), add_mistake, NULL), ENOENT);
    check_contains(leat_error(), "none.ini");
    check_int(leat_admin_check(admin, write_file("a.ini", "[a]\n[b]\n"), stop, &n), -EPIPE);
    check_int(n, 1);
    end();
}

static int add_item(const leat_item *item, void *user)
{
    (void)user;
    return add("%s %s %s %s %lld\n", leat_item_kind_name(item->kind), item->transport, item->name,
               leat_state_name(item->state), (long long)item->uid);
}

static void items_come_by_kind_and_shared_ones_once(void)
{
    begin_as(&(leat_admin_options){.uid = 77});
    text[0] = '\0';
    check_ok(leat_admin_list(admin, add_item, NULL));
    check_string(text, "segment x x dead 77\nsegment y y dead 77\ndirectory x shared dead 77\n");
    end();
}

static int stop_at_item(const leat_item *item, void *user)
{
    (void)item;
    return ++*(int *)user == 2 ? 42 : 0;
}

static void a_listing_ends_when_its_reader_wants(void)
{
    int n = 0;
    begin();
    check_int(leat_admin_list(admin, stop_at_item, &n), 42);
    check_int(n, 2);
    end();
}

static void a_broken_plugin_hides_nothing(void)
{
    begin_as(&(leat_admin_options){.uid = 77});
    put_plugin("p", "broken", "abi 9\n");
    put_plugin("p", "none", "capabilities 1\nlacks list\n");
    text[0] = '\0';
    check_ok(leat_admin_list(admin, add_item, NULL));
    check_string(text, "segment x x dead 77\nsegment y y dead 77\ndirectory x shared dead 77\n");
    end();
}

static int add_channel(const leat_channel_info *info, void *user)
{
    (void)user;
    return add("%s %s\n", info->name, info->pattern);
}

static void items_go_to_the_transport_that_they_are_of(void)
{
    leat_item item = {.transport = "y", .name = "it"};
    uint64_t bytes = 7;
    begin();
    put_plugin("p", "none", "capabilities 1\nlacks list\n");
    text[0] = '\0';
    check_ok(leat_admin_inspect(admin, &item, add_channel, NULL));
    check_string(text, "y push\n");
    check_ok(leat_admin_remove(admin, &item, 0, &bytes));
    check_int((long long)bytes, 4096);
    item.transport = "gone";
    check_error(leat_admin_remove(admin, &item, 0, &bytes), ENOENT);
    item.transport = "none";
    check_error(leat_admin_inspect(admin, &item, add_channel, NULL), ENOTSUP);
    end();
}

static void options_are_copied_and_default_to_the_user(void)
{
    char session[] = "mine";
    begin_as(&(leat_admin_options){.session = session, .uid = -1, .json = true});
    session[0] = 'x';
    const leat_admin_options *options = leat_admin_get_options(admin);
    check_string(options->session, "mine");
    check(options->shmid == NULL && options->json);
    check_int(options->uid, geteuid() == 0 ? -1 : (long long)geteuid());
    const char *value;
    check_ok(leat_config_get(leat_admin_config(admin), "leat", "plugin_dir", &value));
    check_string(value, temporary("p"));
    end();
}

static void a_shmid_is_the_hash_of_user_and_session(void)
{
    char shmid[9];
    check_ok(leat_admin_shmid(0, "default", shmid));
    check_string(shmid, "18bd7cec"); /* printf 0:default | sha256sum */
    check_ok(leat_admin_shmid(1000, "", shmid));
    check_string(shmid, "e52da6e2"); /* printf 1000: | sha256sum */
}

static const leat_test tests[] = {
    {"a right file has no mistake", a_right_file_has_no_mistake, 0},
    {"all mistakes are told in the order of lines", all_mistakes_are_told_in_the_order_of_lines, 0},
    {"a channel's transports must be there and carry it", a_channels_transports_must_be_there_and_carry_it, 0},
    {"the file's own plugin directory counts", the_files_own_plugin_directory_counts, 0},
    {"an empty plugin directory is not the current one", an_empty_plugin_directory_is_not_the_current_one, 0},
    {"a file that is not there is no mistake but an error", a_file_that_is_not_there_is_no_mistake_but_an_error, 0},
    {"items come by kind and shared ones once", items_come_by_kind_and_shared_ones_once, 0},
    {"a listing ends when its reader wants", a_listing_ends_when_its_reader_wants, 0},
    {"a broken plugin hides nothing", a_broken_plugin_hides_nothing, 0},
    {"items go to the transport that they are of", items_go_to_the_transport_that_they_are_of, 0},
    {"options are copied and default to the user", options_are_copied_and_default_to_the_user, 0},
    {"a shmid is the hash of user and session", a_shmid_is_the_hash_of_user_and_session, 0},
    {NULL, NULL, 0},
};
LEAT_TEST_MAIN(tests)
