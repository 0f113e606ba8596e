/* SPDX-License-Identifier: MIT
 *
 * leat_ini.c - prints conf/leat.ini from the key tables of the core and of the plugins whose files are its arguments. A test
 * compares the result with the file in the tree, so that no key goes unexplained. It reads the plugins' constant
 * descriptors and calls nothing in them.
 */
#include <dlfcn.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/internal.h"

static void print_wrapped(const char *text)
{
    enum { WIDTH = 116 };

    while (*text) {
        size_t length = strlen(text);
        if (length > WIDTH)
            for (length = WIDTH; length > 0 && text[length] != ' '; length--)
                ;
        printf("; %.*s\n", (int)length, text);
        text += length;
        text += strspn(text, " ");
    }
}

static void print_number(const leat_key *key, int64_t number)
{
    static const char units[] = "KMGT";
    size_t unit = 0;

    if (key->type == LEAT_KEY_SIZE && number != INT64_MAX)
        for (; number && number % 1024 == 0 && unit < sizeof(units) - 1; unit++)
            number /= 1024;
    printf("%" PRId64, number);
    if (unit)
        putchar(units[unit - 1]);
}

static void print_kind(const leat_key *key)
{
    static const char *const kinds[] = {
        [LEAT_KEY_STRING] = "text",
        [LEAT_KEY_BOOL] = "yes or no",
        [LEAT_KEY_INT] = "whole number",
        [LEAT_KEY_SIZE] = "size, with K M G T for powers of 1024",
        [LEAT_KEY_DURATION] = "time, with us ms s min; milliseconds without a unit",
        [LEAT_KEY_CHOICE] = "one of ",
        [LEAT_KEY_LIST] = "list, separated by commas or by repeating the key",
    };
    bool numeric = key->type == LEAT_KEY_INT || key->type == LEAT_KEY_SIZE || key->type == LEAT_KEY_DURATION;

    printf("; (%s", kinds[key->type]);
    if (key->type == LEAT_KEY_CHOICE)
        for (const char *p = key->choices; *p; p++)
            fputs(*p == '|' ? ", " : (char[]){*p, '\0'}, stdout);
    if (key->unit && key->type == LEAT_KEY_INT)
        printf(", %s", key->unit);
    if (numeric && (key->min || key->max)) {
        printf("; from ");
        print_number(key, key->min);
        if (key->max < (key->type == LEAT_KEY_SIZE ? INT64_MAX : INT32_MAX)) {
            printf(" to ");
            print_number(key, key->max);
        }
        if (key->type == LEAT_KEY_DURATION && key->min == -1)
            printf(", -1 or `forever`");
    }
    printf(")\n");
}

static void print_keys(const leat_key *keys, const char *const *set)
{
    for (; keys && keys->name; keys++) {
        const char *value = keys->def;
        bool active = false;
        for (size_t i = 0; set && set[i]; i += 2) {
            if (strcmp(set[i], keys->name) == 0) {
                value = set[i + 1];
                active = true;
            }
        }
        print_wrapped(keys->help);
        print_kind(keys);
        printf("%s%s =%s%s\n\n", active ? "" : ";", keys->name, value ? " " : "", value ? value : "");
    }
}

int main(int argc, char **argv)
{
    static const char *const example[] = {"type", "push", "method", "bind", "address", "data", NULL};
    const leat_plugin *plugins[16];
    int n = argc - 1;

    if (n > (int)(sizeof(plugins) / sizeof(plugins[0])))
        return 2;
    for (int i = 0; i < n; i++) {
        void *file = dlopen(argv[i + 1], RTLD_LAZY | RTLD_LOCAL);
        plugins[i] = file ? dlsym(file, LEAT_PLUGIN_SYMBOL) : NULL;
        if (!plugins[i]) {
            fprintf(stderr, "leat_ini: %s\n", dlerror());
            return 1;
        }
    }
    printf(
        "; leat.ini - every key of leat, with its default. What is behind a ; need not be written.\n"
        ";\n"
        "; A program reads the file that --config names, else that of $LEAT_CONFIG, else /etc/leat/leat.ini. What the\n"
        "; program sets wins over the file, and the command line over both. `shmadm check FILE` finds mistakes. This\n"
        "; file is printed from the tables that leat itself reads values by.\n\n"
        "; ---- the process ----\n\n[leat]\n\n");
    print_keys(leati_process_keys, NULL);
    printf("; ---- the transports ----\n\n");
    for (int i = 0; i < n; i++) {
        if (!plugins[i]->keys)
            continue;
        printf("; %s\n[transport %s]\n\n", plugins[i]->summary, plugins[i]->name);
        print_keys(plugins[i]->keys, NULL);
    }
    printf("; ---- a channel: one section for each, [channel NAME], where NAME is what the program opens ----\n\n"
           "[channel example]\n\n");
    print_keys(leati_channel_keys, example);
    for (int i = 0; i < n; i++) {
        if (!plugins[i]->channel_keys || !plugins[i]->channel_keys->name)
            continue;
        printf("; With transport = %s:\n\n", plugins[i]->name);
        print_keys(plugins[i]->channel_keys, NULL);
    }
    return 0;
}
