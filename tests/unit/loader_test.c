/* SPDX-License-Identifier: MIT
 *
 * loader_test.c - every plugin that is not as it should be is refused with a sentence of its own; names, aliases,
 * schemes and directories in their order. The plugins are copies of tests/mocks/bad/chameleon.c.
 */
#include "files.h"
#include "internal.h"

#include <leat/plugin.h>

#include <pthread.h>
#include <unistd.h>

static leat_config *cfg;

static void begin(void)
{
    unsetenv("LEAT_PLUGIN_PATH");
    check_ok(leat_config_new(&cfg));
    mkdir(temporary("p"), 0755);
    check_ok(leat_config_set(cfg, "leat", "plugin_dir", temporary("p")));
}

static void end(void)
{
    leat_config_free(cfg);
}

static const leat_plugin *found(const char *name)
{
    const leat_plugin *plugin;
    check_ok(leati_registry_transport(cfg, name, &plugin));
    return plugin;
}

static void refused(const char *name, const char *path, int error, const char *sentence)
{
    const leat_plugin *plugin = NULL;
    check_error(leati_registry_transport(cfg, name, &plugin), error);
    check(plugin == NULL);
    check_contains(leat_error(), sentence);
    if (path)
        check(strncmp(leat_error(), path, strlen(path)) == 0);
}

static void a_plugin_is_found_by_its_name(void)
{
    begin();
    put_plugin("p", "good", "");
    check_string(found("good")->name, "good");
    check(found("good") == found("good"));
    end();
}

static void a_plugin_that_is_not_there_names_where_it_was_looked_for(void)
{
    char list[1200];
    begin();
    snprintf(list, sizeof(list), "%s, %s", temporary("p"), temporary("none"));
    check_ok(leat_config_set(cfg, "leat", "plugin_dir", list));
    put_plugin("p", "good", "alias better\n");
    refused("gold", NULL, ENOENT, "there is no transport \"gold\"; did you mean good?");
    snprintf(list, sizeof(list), "(looked for gold.so in %s; not in %s: it does not exist", temporary("p"),
             temporary("none"));
    check_contains(leat_error(), list);
    refused("bettr", NULL, ENOENT, "did you mean better?");
    refused("../p/good", NULL, EINVAL, "\"../p/good\" cannot be the name of a transport");
    refused("Good", NULL, EINVAL, "cannot be the name");
    end();
}

static void a_file_that_is_no_plugin_says_what_is_wrong(void)
{
    char path[600];
    begin();
    snprintf(path, sizeof(path), "%s", temporary("p/text.so"));
    write_bytes(path, "hello, this is no shared object, and longer than an ELF header: 0123456789", 74);
    refused("text", path, ELIBBAD, "is not a shared object (no ELF header)");
    write_bytes(temporary("p/empty.so"), "", 0);
    refused("empty", NULL, ELIBBAD, "empty.so: is empty");
    for (size_t size = 1000; size < 10000; size += 2000) {
        copy_file(module("chameleon"), temporary("p/cut.so"), size);
        refused("cut", NULL, ELIBBAD, "cut.so: is truncated: it has ");
    }
    struct stat status;
    check(stat(module("chameleon"), &status) == 0);
    copy_file(module("chameleon"), temporary("p/cut.so"), (size_t)status.st_size - 1);
    refused("cut", NULL, ELIBBAD, "cut.so: is truncated: it has ");
    check(mkdir(temporary("p/folder.so"), 0755) == 0);
    refused("folder", NULL, ELIBBAD, "folder.so: is not a regular file");
    copy_file(module("stranger"), temporary("p/stranger.so"), SIZE_MAX);
    refused("stranger", NULL, ELIBBAD, "stranger.so: has no symbol leat_plugin: it is no plugin of leat");
    copy_file(module("unresolved"), temporary("p/unresolved.so"), SIZE_MAX);
    refused("unresolved", NULL, ELIBBAD,
            "unresolved.so: cannot be loaded: undefined symbol: leat_test_missing_function");
    check(symlink("/nowhere/at/all", temporary("p/dangling.so")) == 0);
    refused("dangling", NULL, ENOENT, "dangling.so: there is no such plugin");
    end();
}

static void a_descriptor_that_breaks_a_rule_is_refused(void)
{
    static const struct {
        const char *changes, *sentence;
    } rules[] = {
        {"abi 7\n", "is made for plugin ABI 7, this library has 1"},
        {"abi 7\nstruct_size 4\n", "is made for plugin ABI 7"},
        {"struct_size 4\n", "its descriptor has 4 bytes"},
        {"kind 3\n", "is neither a transport nor a command (kind 3)"},
        {"name Bad_Name\n", "its name \"Bad_Name\" has other characters"},
        {"name other\n", "the plugin calls itself \"other\""},
        {"alias x/y\n", "its alias \"x/y\" has other characters"},
        {"scheme 9p\n", "\"9p\" cannot be a URI scheme"},
        {"summary none\n", "has no summary"},
        {"lacks operations\n", "the transport has no operations"},
        {"ops_size 8\n", "its operations have 8 bytes"},
        {"lacks attach\n", "the transport lacks the operation attach"},
        {"lacks send\n", "the transport lacks the operation send"},
        {"lacks stats\n", "the transport lacks the operation stats"},
        {"lacks remove\n", "claims to be administered, and lacks the operation remove"},
        {"capabilities 0\n", "claims no pattern"},
        {"capabilities 0x80000001\n", "claims capabilities that this version does not know (0x80000000)"},
        {"capabilities 2\n", "claims push without its partner pull"},
        {"capabilities 0x18\n", "claims pub and sub, and lacks the operation subscribe"},
        {"key Heap Size\n", "its key \"Heap Size\" has other characters"},
        {"default red\n", "the default of its key colour: \"red\" is not one of green, brown"},
        {"channel_key queue\n", "its channel key queue is one of those that all transports share"},
        {"channel_key speed\n", "its key speed is there twice"},
    };
    begin();
    for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]); i++) {
        char name[32];
        snprintf(name, sizeof(name), "bad-%zu", i);
        refused(name, put_plugin("p", name, rules[i].changes), ELIBBAD, rules[i].sentence);
    }
    end();
}

static void a_transport_without_administration_need_not_list(void)
{
    begin();
    put_plugin("p", "quiet", "capabilities 1\nlacks list\nlacks remove\n");
    check_string(found("quiet")->name, "quiet");
    end();
}

static void a_command_is_no_transport(void)
{
    begin();
    put_plugin("p", "look", "kind 2\n");
    refused("look", NULL, EINVAL, "look.so: is a command, and no transport");
    refused("lok", NULL, ENOENT, "there is no transport \"lok\" (looked for");
    end();
}

static void an_alias_is_found_though_others_are_broken(void)
{
    begin();
    put_plugin("p", "a-broken", "abi 9\n");
    put_plugin("p", "b-good", "alias nick\nalias name\n");
    check_string(found("nick")->name, "b-good");
    check_string(found("name")->name, "b-good");
    end();
}

static void names_aliases_and_schemes_are_taken_once(void)
{
    const leat_plugin *plugin;
    begin();
    put_plugin("p", "a", "alias nick\nscheme tcp\n");
    put_plugin("p", "b", "alias nick\n");
    put_plugin("p", "c", "scheme tcp\n");
    put_plugin("p", "d", "alias a\n");
    check_string(found("nick")->name, "a");
    check_ok(leati_registry_scheme(cfg, "tcp", &plugin));
    check_string(plugin->name, "a");
    refused("d", NULL, ELIBBAD, "d.so: its alias \"a\" is the name of ");
    check_error(leati_registry_scheme(cfg, "ftp", &plugin), ENOENT);
    check_contains(leat_error(), "there is no transport for ftp:// addresses");
    end();
}

static int append(const leat_plugin_info *info, void *user)
{
    char *text = user;
    const char *file = strrchr(info->path, '/') + 1;
    snprintf(text + strlen(text), 4000 - strlen(text), "%s|%s|%s|%s|%s|%s\n", file, info->name, info->kind,
             info->aliases, info->capabilities, info->refused ? info->refused : "good");
    return 0;
}

static void the_report_has_all_of_them_with_their_reasons(void)
{
    static char text[4000];
    char list[1600];
    begin();
    put_plugin("p", "a", "alias nick\nalias two\nscheme tcp\n");
    put_plugin("p", "b", "alias nick\n");
    put_plugin("p", "c", "scheme tcp\n");
    put_plugin("p", "Upper", "");
    put_plugin("q", "a", "");
    put_plugin("q", "look", "kind 2\n");
    snprintf(list, sizeof(list), "%s, %s, %s", temporary("p"), temporary("none"), temporary("q"));
    check_ok(leat_config_set(cfg, "leat", "plugin_dir", list));
    check_ok(leati_registry_report(cfg, append, text));
    check_contains(text, "none||||"
                         "|the directory is not searched: it does not exist\n");
    check_contains(text, "\na.so|a|transport|nick, two|push, pull, admin|good\n");
    check_contains(text, "\nb.so|b||||its alias \"nick\" is taken by ");
    check_contains(text, "\nc.so|c||||its URI scheme \"tcp\" is taken by ");
    check_contains(text, "Upper.so|Upper||||a plugin's name may have the characters a-z, 0-9 and - only\n");
    check_contains(text, "\na.so|a||||the name \"a\" is taken by ");
    check_contains(text, "look.so|look|command|||good\n");
    end();
}

static int count_plugin(const leat_plugin *plugin, void *user)
{
    (void)plugin;
    ++*(int *)user;
    return 0;
}

static void each_gives_the_good_ones_of_a_kind(void)
{
    int n = 0;
    begin();
    put_plugin("p", "a", "");
    put_plugin("p", "b", "abi 3\n");
    put_plugin("p", "c", "");
    put_plugin("p", "look", "kind 2\n");
    check_ok(leati_registry_each(cfg, LEAT_TRANSPORT, count_plugin, &n));
    check_int(n, 2);
    check_ok(leati_registry_each(cfg, LEAT_COMMAND, count_plugin, &n));
    check_int(n, 3);
    end();
}

static void directories_come_in_their_order(void)
{
    char option[] = "--plugin-dir", args_dir[600], program[] = "program";
    char *words[] = {program, option, args_dir, NULL};
    int n = 3;
    begin();
    leat_config_free(cfg);
    check_ok(leat_config_new(&cfg));
    put_plugin("env", "x", "alias env\n");
    put_plugin("file", "x", "alias file\n");
    put_plugin("args", "x", "alias args\n");
    char text[700];
    setenv("LEAT_PLUGIN_PATH", "", 1);
    refused("x", NULL, ENOENT, "there is no transport");
    snprintf(text, sizeof(text), "/nowhere::%s", temporary("env"));
    setenv("LEAT_PLUGIN_PATH", text, 1);
    check_string(found("x")->aliases[0], "env");
    snprintf(text, sizeof(text), "[leat]\nplugin_dir = %s\n", temporary("file"));
    check_ok(leat_config_load(cfg, write_file("a.ini", text)));
    check_string(found("x")->aliases[0], "file");
    snprintf(args_dir, sizeof(args_dir), "%s", temporary("args"));
    check_ok(leat_config_args(cfg, &n, words));
    check_string(found("x")->aliases[0], "args");
    /* The option adds its directory, and does not take the file's away. */
    put_plugin("file", "only-file", "");
    check_string(found("only-file")->name, "only-file");
    end();
}

static void a_relative_directory_is_made_absolute(void)
{
    begin();
    put_plugin("p", "good", "");
    check(chdir(leat_test_tmpdir()) == 0);
    check_ok(leat_config_set(cfg, "leat", "plugin_dir", "p"));
    check_string(found("good")->name, "good");
    check_ok(leat_config_set(cfg, "leat", "plugin_dir", "q"));
    refused("gone", NULL, ENOENT, "/q: it does not exist");
    end();
}

static void root_trusts_nothing_that_others_can_write(void)
{
    if (geteuid() != 0)
        leat_test_skip("only root distrusts");
    begin();
    const char *path = put_plugin("p", "good", "");
    check(chmod(temporary("p"), 0777) == 0);
    refused("good", NULL, ENOENT, "/p: others than root, who runs this, can write it");
    check(chmod(temporary("p"), 0755) == 0 && chown(temporary("p"), 1234, 0) == 0);
    refused("good", NULL, ENOENT, "it belongs to another user than root");
    check(chown(temporary("p"), 0, 0) == 0 && chmod(path, 0666) == 0);
    refused("good", path, EACCES, "is not loaded: others than root");
    check(chmod(path, 0644) == 0 && chown(path, 1234, 0) == 0);
    refused("good", path, EACCES, "is not loaded: it belongs to another user");
    check(chown(path, 0, 0) == 0);
    check_string(found("good")->name, "good");
    end();
}

static int notices;

static void count_notice(leat_log_level level, const char *line, void *user)
{
    (void)user;
    notices += level == LEAT_LOG_NOTICE && strstr(line, "broken.so") != NULL;
}

static void a_broken_one_that_nobody_asked_for_is_noticed_once(void)
{
    int n = 0;
    begin();
    leat_log_to(count_notice, NULL);
    put_plugin("p", "broken", "abi 9\n");
    check_ok(leati_registry_each(cfg, LEAT_TRANSPORT, count_plugin, &n));
    check_int(notices, 1);
    check_ok(leati_registry_each(cfg, LEAT_TRANSPORT, count_plugin, &n));
    check_int(notices, 1);
    leat_log_to(NULL, NULL);
    end();
}

static void a_mended_plugin_is_taken_at_the_next_try(void)
{
    begin();
    put_plugin("p", "x", "abi 9\n");
    refused("x", NULL, ELIBBAD, "ABI 9");
    check(unlink(temporary("p/x.so")) == 0);
    put_plugin("p", "x", "");
    check_string(found("x")->name, "x");
    end();
}

static void a_channel_may_keep_the_keys_of_another_transport(void)
{
    leat_settings *s;
    begin();
    put_plugin("p", "x", "");
    check_ok(leat_config_set(cfg, "channel data", "speed", "7"));
    check_error(leat_config_set(cfg, "channel data", "speed", "fast"), EINVAL);
    check_error(leat_config_set(cfg, "channel data", "sped", "7"), EINVAL);
    check_contains(leat_error(), "did you mean speed?");
    check_error(leat_config_set(cfg, "transport x", "color", "green"), EINVAL);
    check_contains(leat_error(), "did you mean colour?");
    check_ok(leat_config_set(cfg, "transport absent", "anything", "x"));
    check_ok(leati_settings_new(cfg, "channel data", (const leat_key *const[]){leati_channel_keys, NULL}, &s));
    leati_settings_free(s);
    const leat_plugin *plugin = found("x");
    check_ok(leati_settings_new(cfg, "channel data",
                                (const leat_key *const[]){leati_channel_keys, plugin->channel_keys, NULL}, &s));
    check_int(leat_setting_int(s, "speed"), 7);
    leati_settings_free(s);
    end();
}

static void *look_for_many(void *user)
{
    char name[8];
    for (int i = 0; i < 32; i++) {
        const leat_plugin *plugin;
        snprintf(name, sizeof(name), "t%d", i % 8);
        check_ok(leati_registry_transport(cfg, name, &plugin));
        check_string(plugin->name, name);
        check_error(leati_registry_transport(cfg, "broken", &plugin), ELIBBAD);
        check_contains(leat_error(), "ABI 9");
    }
    return user;
}

static void threads_may_look_for_plugins_at_once(void)
{
    pthread_t threads[4];
    char name[8];
    begin();
    put_plugin("p", "broken", "abi 9\n");
    for (int i = 0; i < 8; i++) {
        snprintf(name, sizeof(name), "t%d", i);
        put_plugin("p", name, "");
    }
    for (int i = 0; i < 4; i++)
        check_int(pthread_create(&threads[i], NULL, look_for_many, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    end();
}

static const leat_test tests[] = {
    {"a plugin is found by its name", a_plugin_is_found_by_its_name, 0},
    {"a plugin that is not there names where it was looked for",
     a_plugin_that_is_not_there_names_where_it_was_looked_for, 0},
    {"a file that is no plugin says what is wrong", a_file_that_is_no_plugin_says_what_is_wrong, 0},
    {"a descriptor that breaks a rule is refused", a_descriptor_that_breaks_a_rule_is_refused, 0},
    {"a transport without administration need not list", a_transport_without_administration_need_not_list, 0},
    {"a command is no transport", a_command_is_no_transport, 0},
    {"an alias is found though others are broken", an_alias_is_found_though_others_are_broken, 0},
    {"names, aliases and schemes are taken once", names_aliases_and_schemes_are_taken_once, 0},
    {"the report has all of them with their reasons", the_report_has_all_of_them_with_their_reasons, 0},
    {"each gives the good ones of a kind", each_gives_the_good_ones_of_a_kind, 0},
    {"directories come in their order", directories_come_in_their_order, 0},
    {"a relative directory is made absolute", a_relative_directory_is_made_absolute, 0},
    {"root trusts nothing that others can write", root_trusts_nothing_that_others_can_write, 0},
    {"a broken one that nobody asked for is noticed once", a_broken_one_that_nobody_asked_for_is_noticed_once, 0},
    {"a mended plugin is taken at the next try", a_mended_plugin_is_taken_at_the_next_try, 0},
    {"a channel may keep the keys of another transport", a_channel_may_keep_the_keys_of_another_transport, 0},
    {"threads may look for plugins at once", threads_may_look_for_plugins_at_once, 0},
    {NULL, NULL, 0},
};
LEAT_TEST_MAIN(tests)
