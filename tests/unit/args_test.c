/* SPDX-License-Identifier: MIT
 *
 * args_test.c - leat's options in a command line: taken out, applied, or refused with nothing changed.
 */
#include "files.h"

#include <unistd.h>

#define MOST 16

static leat_config *cfg;
static char *left[MOST + 1];
static int n_left;

/* Runs leat_config_args() over the words, up to NULL. */
static int args(const char *first, ...)
{
    va_list words;
    n_left = 0;
    left[n_left++] = (char *)"program";
    va_start(words, first);
    for (const char *word = first; word; word = va_arg(words, const char *))
        left[n_left++] = (char *)word;
    va_end(words);
    left[n_left] = NULL;
    return leat_config_args(cfg, &n_left, left);
}

static const char *get(const char *section, const char *key)
{
    const char *value;
    check_ok(leat_config_get(cfg, section, key, &value));
    return value;
}

static void begin(void)
{
    unsetenv("LEAT_SESSION"); /* the harness's, which would win over files */
    check_ok(leat_config_new(&cfg));
    check_ok(leat_config_load(cfg, write_file("a.ini", "[channel data]\naddress = data\n[channel far]\n"
                                                       "address = tcp://localhost:5555\n[channel both]\n"
                                                       "address = tcp://*:5555, both\n[channel later]\n")));
}

static void options_are_taken_out_and_the_rest_stays(void)
{
    begin();
    check_ok(args("-v", "--session", "s1", "file", "--set=channel data.queue=8", "--sessions", "--", "--session", "s2",
                  NULL));
    check_int(n_left, 7);
    check_string(left[1], "-v");
    check_string(left[2], "file");
    check_string(left[3], "--sessions");
    check_string(left[4], "--");
    check_string(left[5], "--session");
    check_string(left[6], "s2");
    check(left[7] == NULL);
    check_string(get("leat", "session"), "s1");
    check_string(get("channel data", "queue"), "8");
    leat_config_free(cfg);
}

static void a_failure_changes_nothing(void)
{
    begin();
    check_error(args("--session", "s1", "--set", "channel data.queue=ten", NULL), EINVAL);
    check_string(leat_error(), "--set: [channel data] queue: \"ten\" is not a whole number");
    check_int(n_left, 5);
    check_string(left[1], "--session");
    check_string(get("leat", "session"), "default");
    leat_config_free(cfg);
}

static void an_option_without_its_value_is_refused_by_name(void)
{
    begin();
    check_error(args("--session", NULL), EINVAL);
    check_string(leat_error(), "--session needs a value");
    check_error(args("--config=", NULL), EINVAL);
    check_string(leat_error(), "--config needs a value");
    leat_config_free(cfg);
}

static void the_config_option_is_read_before_all_others(void)
{
    begin();
    const char *path = write_file("b.ini", "[channel new]\naddress = new\nqueue = 8\n");
    check_ok(args("--transport", "new=zmq", "--set", "channel new.queue=16", "--config", path, NULL));
    check_string(get("channel new", "transport"), "zmq");
    check_string(get("channel new", "queue"), "16");
    check_error(args("--config", "/nowhere/x.ini", NULL), ENOENT);
    leat_config_free(cfg);
}

static void a_channel_option_makes_a_channel(void)
{
    begin();
    check_ok(args("--channel",
                  "name=out,type=push,method=bind,address=out,address=tcp://*:1,transport=shmem,transport=zmq", NULL));
    check_string(get("channel out", "type"), "push");
    check_string(get("channel out", "address"), "out, tcp://*:1");
    check_string(get("channel out", "transport"), "shmem, zmq");
    check_ok(args("--channel=name=data,address=other", NULL));
    check_string(get("channel data", "address"), "other");
    leat_config_free(cfg);
}

static void a_channel_option_is_checked(void)
{
    begin();
    check_error(args("--channel", "type=push", NULL), EINVAL);
    check_contains(leat_error(), "must begin with name=");
    check_error(args("--channel", "name=x,push", NULL), EINVAL);
    check_contains(leat_error(), "\"push\" is not key=value");
    check_error(args("--channel", "name=x,type=push,type=pull", NULL), EINVAL);
    check_contains(leat_error(), "type: is given twice");
    check_error(args("--channel", "name=x,typ=push", NULL), EINVAL);
    check_contains(leat_error(), "did you mean type?");
    check_error(args("--channel", "name=a b,type=push", NULL), EINVAL);
    check_contains(leat_error(), "the name of a channel may have");
    leat_config_free(cfg);
}

static void a_set_option_is_section_key_and_value(void)
{
    begin();
    check_ok(args("--set", "channel a.b.address=x=y", NULL));
    check_string(get("channel a.b", "address"), "x=y");
    for (const char *const *bad =
             (const char *const[]){"queue=8", "channel data.queue", ".queue=8", "channel data.=8", NULL};
         *bad; bad++) {
        check_error(args("--set", *bad, NULL), EINVAL);
        check_contains(leat_error(), "write SECTION.KEY=VALUE");
    }
    check_error(args("--set", "chan data.queue=8", NULL), EINVAL);
    check_contains(leat_error(), "--set: [chan data]: there is no such section");
    leat_config_free(cfg);
}

static void a_transport_option_changes_one_channel(void)
{
    begin();
    check_ok(args("--transport", "both=zmq", NULL));
    check_string(get("channel both", "transport"), "zmq");
    check_string(get("channel data", "transport"), "shmem");
    check_ok(args("--transport", "later=zmq,shmem", NULL));
    check_string(get("channel later", "transport"), "zmq,shmem");
    leat_config_free(cfg);
}

static void a_transport_option_changes_all_channels_that_it_can(void)
{
    begin();
    check_ok(args("--transport=zmq", NULL));
    check_string(get("channel data", "transport"), "zmq");
    check_string(get("channel both", "transport"), "zmq");
    check_string(get("channel far", "transport"), "shmem");
    leat_config_free(cfg);
}

static void a_transport_option_that_changes_nothing_is_an_error(void)
{
    begin();
    check_error(args("--transport", "far=zmq", NULL), EINVAL);
    check_contains(leat_error(), "changes nothing: all addresses of [channel far] are URIs");
    check_error(args("--transport", "dato=zmq", NULL), EINVAL);
    check_contains(leat_error(), "there is no [channel dato]; did you mean [channel data]?");
    leat_config_free(cfg);
    check_ok(leat_config_new(&cfg));
    check_error(args("--transport", "zmq", NULL), EINVAL);
    check_contains(leat_error(), "has no channel");
    check_ok(leat_config_set(cfg, "channel x", "address", "tcp://h:1, tcp://h:2"));
    check_error(args("--transport", "zmq", NULL), EINVAL);
    check_contains(leat_error(), "all addresses are URIs");
    check_ok(args("--transport", "zmq", "--channel", "name=y,address=y", NULL));
    check_string(get("channel y", "transport"), "zmq");
    leat_config_free(cfg);
}

static void plugin_directories_add_up_and_become_absolute(void)
{
    begin();
    check(chdir(leat_test_tmpdir()) == 0);
    check(mkdir("p", 0700) == 0);
    check_ok(args("--plugin-dir", "p", "--plugin-dir=/usr", NULL));
    char *real = realpath("p", NULL), wanted[600];
    snprintf(wanted, sizeof(wanted), "%s, /usr", real);
    check_string(get("leat", "plugin_dir"), wanted);
    free(real);
    leat_config_free(cfg);
}

static const leat_test tests[] = {
    {"options are taken out and the rest stays", options_are_taken_out_and_the_rest_stays, 0},
    {"a failure changes nothing", a_failure_changes_nothing, 0},
    {"an option without its value is refused by name", an_option_without_its_value_is_refused_by_name, 0},
    {"the config option is read before all others", the_config_option_is_read_before_all_others, 0},
    {"a channel option makes a channel", a_channel_option_makes_a_channel, 0},
    {"a channel option is checked", a_channel_option_is_checked, 0},
    {"a set option is section, key and value", a_set_option_is_section_key_and_value, 0},
    {"a transport option changes one channel", a_transport_option_changes_one_channel, 0},
    {"a transport option changes all channels that it can", a_transport_option_changes_all_channels_that_it_can, 0},
    {"a transport option that changes nothing is an error", a_transport_option_that_changes_nothing_is_an_error, 0},
    {"plugin directories add up and become absolute", plugin_directories_add_up_and_become_absolute, 0},
    {NULL, NULL, 0},
};
LEAT_TEST_MAIN(tests)
