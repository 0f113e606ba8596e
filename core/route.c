/* SPDX-License-Identifier: MIT
 *
 * route.c - which transports a channel's addresses mean: a URI's scheme names one, a plain name goes to those that the
 * channel lists and that work here. Says in the log what was chosen and why. Opens and binds nothing.
 */
#include "runtime.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* The words of a comma-separated list, one after the other. NULL: no more. *rest is consumed. */
static char *next_word(char **rest)
{
    char *word = NULL;
    while ((word = strsep(rest, ","))) {
        word += strspn(word, " \t");
        size_t length = strlen(word);
        while (length > 0 && isspace((unsigned char)word[length - 1]))
            word[--length] = '\0';
        if (length > 0)
            return word;
    }
    return NULL;
}

/* A copy of the list in force for a key; "" if there is none. NULL: no memory. */
static char *get_list(const leat_channel *ch, const char *section, const char *key)
{
    const char *value = NULL;
    if (leat_config_get(ch->ctx->config, section, key, &value) < 0)
        value = "";
    char *list = strdup(value);
    if (!list)
        leat_fail(ENOMEM, "no memory for %s of channel %s", key, ch->name);
    return list;
}

static bool is_plain_name(const char *name)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
    return *name && name[strspn(name, allowed)] == '\0';
}

/* Why the plugin cannot carry this channel, said; or 0. */
static int check_usable(const leat_channel *ch, const leat_plugin *plugin)
{
    uint64_t needed = LEAT_CAP_PATTERN(ch->pattern) | LEAT_CAP_PATTERN(leat_pattern_partner(ch->pattern));
    if (plugin->kind != LEAT_TRANSPORT)
        return leat_fail(EINVAL, "channel %s: %s is a command, not a transport", ch->name, plugin->name);
    if ((plugin->capabilities & needed) != needed)
        return leat_fail(ENOTSUP, "channel %s: transport %s does not carry the pattern %s", ch->name, plugin->name,
                         leat_pattern_name(ch->pattern));
    if (!plugin->probe)
        return 0;
    int r = plugin->probe();
    return r < 0 ? r : 0;
}

/* Finds the channel's port of that plugin, or attaches one more. */
static int need_port(leat_channel *ch, const leat_plugin *plugin, size_t *ret_port)
{
    for (size_t i = 0; i < ch->nports; i++)
        if (ch->ports[i].transport->plugin == plugin) {
            *ret_port = i;
            return 0;
        }
    leati_transport *transport = NULL;
    int r = leati_transport_attach(ch->ctx, plugin, &transport);
    if (r < 0)
        return r;
    leati_port *ports = realloc(ch->ports, (ch->nports + 1) * sizeof(*ports));
    if (!ports)
        return leat_fail(ENOMEM, "no memory for the ports of channel %s", ch->name);
    ch->ports = ports;
    ports[ch->nports] = (leati_port){.transport = transport, .ops = transport->ops};
    *ret_port = ch->nports++;
    return 0;
}

static int add_endpoint(leat_channel *ch, const leat_plugin *plugin, const char *address)
{
    size_t port = 0;
    int r = need_port(ch, plugin, &port);
    if (r < 0)
        return r;
    for (size_t i = 0; i < ch->nendpoints; i++)
        if (ch->endpoints[i].port == port && strcmp(ch->endpoints[i].address, address) == 0)
            return leat_fail(EINVAL, "[channel %s] address: %s stands there twice", ch->name, address);
    leati_endpoint *endpoints = realloc(ch->endpoints, (ch->nendpoints + 1) * sizeof(*endpoints));
    char *copy = strdup(address);
    if (endpoints)
        ch->endpoints = endpoints;
    if (!endpoints || !copy) {
        free(copy);
        return leat_fail(ENOMEM, "no memory for the addresses of channel %s", ch->name);
    }
    endpoints[ch->nendpoints++] = (leati_endpoint){.address = copy, .port = port};
    return 0;
}

static int plan_uri(leat_channel *ch, const char *address, const char *separator)
{
    char scheme[32];
    const leat_plugin *plugin = NULL;
    size_t length = (size_t)(separator - address);
    if (length == 0 || length >= sizeof(scheme))
        return leat_fail(EINVAL, "[channel %s] address: \"%s\" has no scheme before ://", ch->name, address);
    memcpy(scheme, address, length);
    scheme[length] = '\0';
    int r = leati_registry_scheme(ch->ctx->config, scheme, &plugin);
    if (r < 0)
        return r;
    r = check_usable(ch, plugin);
    if (r < 0)
        return r;
    leat_logf(LEAT_LOG_INFO, "channel %s: %s by %s, which answers to %s://", ch->name, address, plugin->name, scheme);
    return add_endpoint(ch, plugin, address);
}

/* A plain name goes to every transport of the list that works here. One that stands alone must work; of several, those
 * that do not are left out aloud. A name that no plugin answers to is a mistake in any case. */
static int plan_name(leat_channel *ch, const char *section, const char *address)
{
    const char *name = address[0] == '/' ? address + 1 : address;
    if (!is_plain_name(name))
        return leat_fail(EINVAL,
                         "[channel %s] address: \"%s\" is neither a plain name (letters, digits, '.', '_', '-')"
                         " nor a URI (scheme://...)",
                         ch->name, address);
    char *list = get_list(ch, section, "transport");
    if (!list)
        return -ENOMEM;
    bool several = strchr(list, ',') != NULL;
    size_t used = 0, listed = 0;
    int r = 0;
    char *rest = list;
    for (char *word = NULL; (word = next_word(&rest)); listed++) {
        const leat_plugin *plugin = NULL;
        r = leati_registry_transport(ch->ctx->config, word, &plugin);
        if (r < 0)
            goto free_list;
        r = check_usable(ch, plugin);
        if (r < 0 && !several)
            goto free_list;
        if (r < 0) {
            leat_logf(LEAT_LOG_NOTICE, "channel %s: not by %s: %s", ch->name, plugin->name, leat_error());
            continue;
        }
        r = add_endpoint(ch, plugin, name);
        if (r < 0)
            goto free_list;
        used++;
        leat_logf(LEAT_LOG_INFO, "channel %s: %s %s by %s, %s", ch->name, ch->binds ? "binds" : "connects to", name,
                  plugin->name, several ? "which is listed and works here" : "the channel's transport");
    }
    r = 0;
    if (!listed)
        r = leat_fail(EINVAL, "[channel %s] transport: the list is empty; name one, e.g. transport = shmem", ch->name);
    else if (!used)
        r = leat_fail(ENOTSUP, "channel %s: none of its transports works here; the last one: %s", ch->name,
                      leat_error());

free_list:
    free(list);
    return r;
}

static int plan_addresses(leat_channel *ch, const char *section)
{
    int r = 0;
    char *list = get_list(ch, section, "address");
    if (!list)
        return -ENOMEM;
    char *rest = list;
    for (char *address = NULL; r == 0 && (address = next_word(&rest));) {
        const char *separator = strstr(address, "://");
        r = separator ? plan_uri(ch, address, separator) : plan_name(ch, section, address);
    }
    if (r == 0 && ch->nendpoints == 0)
        r = leat_fail(EINVAL, "[channel %s] has no address: say where the ends meet, e.g. address = %s", ch->name,
                      ch->name);
    free(list);
    return r;
}

static int plan_type(leat_channel *ch, const char *section)
{
    const char *type = NULL, *method = NULL;
    if (leat_config_get(ch->ctx->config, section, "type", &type) < 0)
        return leat_fail(EINVAL, "[channel %s] has no type: pair, push, pull, pub, sub, req or rep", ch->name);
    for (ch->pattern = LEAT_PAIR; ch->pattern < LEAT_PATTERNS; ch->pattern++)
        if (strcmp(leat_pattern_name(ch->pattern), type) == 0)
            break;
    if (ch->pattern == LEAT_PATTERNS)
        return leat_fail(EINVAL, "[channel %s] type: \"%s\" is not a pattern", ch->name, type);
    ch->sends = leat_pattern_sends(ch->pattern);
    ch->receives = leat_pattern_receives(ch->pattern);
    if (leat_config_get(ch->ctx->config, section, "method", &method) < 0)
        return leat_fail(EINVAL, "[channel %s] has no method: bind or connect", ch->name);
    if (strcmp(method, "bind") != 0 && strcmp(method, "connect") != 0)
        return leat_fail(EINVAL, "[channel %s] method: \"%s\" is neither bind nor connect", ch->name, method);
    ch->binds = strcmp(method, "bind") == 0;
    return 0;
}

int leati_route_plan(leat_channel *ch, const char *section)
{
    int r = plan_type(ch, section);
    if (r < 0)
        return r;
    r = plan_addresses(ch, section);
    if (r < 0)
        return r;
    /* These must know which link a message or its answer belongs to, which ports of different transports cannot agree
     * about. */
    if (ch->nports > 1 && (ch->pattern == LEAT_PUB || ch->pattern == LEAT_REQ || ch->pattern == LEAT_REP))
        return leat_fail(ENOTSUP, "channel %s: %s works over one transport at a time; its addresses need %s and %s",
                         ch->name, leat_pattern_name(ch->pattern), ch->ports[0].transport->plugin->name,
                         ch->ports[1].transport->plugin->name);
    return 0;
}

/* ---- the direct path --------------------------------------------------------------------------------------------- */

static int decline_send(void *port, leat_msg_body *const *parts, size_t n)
{
    (void)port, (void)parts, (void)n;
    return -EAGAIN;
}

static int decline_recv(void *port, leat_msg_body *const *parts, size_t capacity)
{
    (void)port, (void)parts, (void)capacity;
    return -EAGAIN;
}

static bool decline_owns(void *port, const leat_msg_body *msg)
{
    (void)port, (void)msg;
    return false;
}

void leati_route_direct(leat_channel *ch)
{
    bool direct = ch->nports == 1 && !ch->armed;
    /* The direct path of send does not compare inline messages with max_msg_size. */
    bool sends = direct && ch->sends && ch->max_size >= LEAT_INLINE_MAX;
    ch->direct_port = direct ? ch->ports[0].port : NULL;
    ch->direct_send = sends ? ch->ports[0].ops->send : decline_send;
    ch->direct_owns = sends ? ch->ports[0].ops->owns : decline_owns;
    ch->direct_recv = direct && ch->receives ? ch->ports[0].ops->recv : decline_recv;
}
