/* SPDX-License-Identifier: MIT
 *
 * storm_watch.c - how the storm's processes and the machine look from outside: /proc, /dev/shm, and what
 * leat_admin_list() shows. Changes nothing.
 */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <leat/admin.h>

#include "leat_test.h"
#include "storm.h"

static int count_entries(const char *path, const char *prefix, const char *suffix)
{
    int count = 0;
    DIR *dir = opendir(path);
    if (!dir)
        return 0;
    for (struct dirent *entry; (entry = readdir(dir));) {
        size_t size = strlen(entry->d_name), suffix_size = strlen(suffix);
        count += entry->d_name[0] != '.' && strncmp(entry->d_name, prefix, strlen(prefix)) == 0 &&
                 size >= suffix_size && strcmp(entry->d_name + size - suffix_size, suffix) == 0;
    }
    closedir(dir);
    return count;
}

/* Adds a name unless it is there already; returns how many there are then. */
static int note_name(char names[64][96], int count, const char *name)
{
    for (int i = 0; i < count; i++)
        if (strncmp(names[i], name, sizeof(names[i]) - 1) == 0)
            return count;
    check(count < 64);
    snprintf(names[count], sizeof(names[count]), "%s", name);
    return count + 1;
}

storm_view storm_look(pid_t pid)
{
    storm_view view = {0};
    char path[64], line[1024];
    char names[64][96];
    bool leats = false;
    snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid);
    view.descriptors = count_entries(path, "", "");
    snprintf(path, sizeof(path), "/proc/%d/smaps", (int)pid);
    FILE *file = fopen(path, "re");
    check(file != NULL);
    while (fgets(line, sizeof(line), file)) {
        uint64_t kib;
        unsigned long from;
        if (sscanf(line, "%lx-", &from) == 1 && strchr(line, '-') && !strstr(line, "kB")) {
            leats = strstr(line, "/leat_") != NULL;
            if (leats) /* one segment may be mapped in several pieces */
                view.segments = note_name(names, view.segments, strstr(line, "/leat_"));
        } else if (sscanf(line, "Rss: %" SCNu64 " kB", &kib) == 1 && leats) {
            view.segments_rss += kib << 10;
        } else if (sscanf(line, "Anonymous: %" SCNu64 " kB", &kib) == 1) {
            view.anonymous += kib << 10;
        }
    }
    fclose(file);
    return view;
}

static int add_item(const leat_item *item, void *user)
{
    storm_machine *machine = user;
    if (item->kind != LEAT_ITEM_SEGMENT)
        return 0;
    machine->listed++;
    machine->dead += item->state == LEAT_DEAD;
    machine->blocks += item->blocks > 0 ? item->blocks : 0;
    return 0;
}

storm_machine storm_look_at_machine(void)
{
    storm_machine machine = {0};
    leat_admin_options options = {.session = leat_test_session(), .uid = getuid()};
    leat_admin *admin;
    char shmid[9], prefix[32], path[256];
    leat_config *cfg = leat_test_config();
    check_ok(leat_admin_shmid(getuid(), leat_test_session(), shmid));
    snprintf(prefix, sizeof(prefix), "leat_%s_", shmid);
    machine.segments = count_entries("/dev/shm", prefix, "");
    snprintf(path, sizeof(path), "/dev/shm/leat-%u/%s", (unsigned)getuid(), leat_test_session());
    machine.peer_files = count_entries(path, "", ".peer");
    check_ok(leat_admin_new(cfg, &options, &admin));
    check_ok(leat_admin_list(admin, add_item, &machine));
    leat_admin_free(admin);
    leat_config_free(cfg);
    return machine;
}
