/* The session of session_test.go with hiredis: session KEY ADDR...
 *
 * Says "kill" when the first node is to be killed, and goes on when it reads a line. */
#include <hiredis/hiredis.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define PATIENCE 60 /* seconds */
#define PAUSE 50000 /* microseconds */
#define VALUES 32

static const char *key;
static char **addrs;
static int naddrs;
static redisContext *client;

static char sent[VALUES][16];
static int nsent, processed[VALUES];

static void fail(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static redisContext *dial(void) {
    for (int i = 0; i < naddrs; i++) {
        char host[64];
        const char *colon = strrchr(addrs[i], ':');
        snprintf(host, sizeof host, "%.*s", (int)(colon - addrs[i]), addrs[i]);
        struct timeval patience = {40, 0};
        redisContext *c = redisConnectWithTimeout(host, atoi(colon + 1), (struct timeval){2, 0});
        if (c && !c->err && redisSetTimeout(c, patience) == REDIS_OK) return c;
        if (c) redisFree(c);
    }
    return NULL;
}

static int passes(const char *error) {
    static const char *words[] = {"CLUSTERDOWN", "TRYAGAIN", "OVERLOADED", "INDOUBT"};
    for (int i = 0; i < 4; i++)
        if (!strncmp(error, words[i], strlen(words[i]))) return 1;
    return 0;
}

/* must repeats a command until it has a proper reply, which the caller frees. */
static redisReply *must(const char *format, ...) {
    time_t end = time(NULL) + PATIENCE;
    for (;;) {
        redisReply *r = NULL;
        if (!client) client = dial();
        if (client) {
            va_list args;
            va_start(args, format);
            r = redisvCommand(client, format, args);
            va_end(args);
        }
        if (r && (r->type != REDIS_REPLY_ERROR || !strncmp(r->str, "BUSYGROUP", 9))) return r;
        if (r && !passes(r->str)) fail(format, r->str);
        if (time(NULL) > end) fail(format, r ? r->str : "no connection");
        if (!r && client) {
            redisFree(client);
            client = NULL;
        }
        if (r) freeReplyObject(r);
        usleep(PAUSE);
    }
}

static void add(const char *prefix, int n) {
    char *value = sent[nsent++];
    snprintf(value, sizeof sent[0], "%s-%d", prefix, n);
    freeReplyObject(must("XADD %s * v %s", key, value));
}

/* entries are [[id, [field, value]], ...]: at most limit of them are noted as processed and
 * acknowledged. */
static void work(redisReply *entries, size_t limit) {
    for (size_t i = 0; i < entries->elements && i < limit; i++) {
        redisReply *e = entries->element[i];
        for (int k = 0; k < nsent; k++)
            if (!strcmp(sent[k], e->element[1]->element[1]->str)) processed[k] = 1;
        freeReplyObject(must("XACK %s workers %s", key, e->element[0]->str));
    }
}

static void drain(void) {
    for (;;) {
        redisReply *r = must("XREADGROUP GROUP workers heir COUNT 5 STREAMS %s >", key);
        if (r->type == REDIS_REPLY_ARRAY) {
            work(r->element[0]->element[1], 5);
            freeReplyObject(r);
            continue;
        }
        freeReplyObject(r);
        r = must("XAUTOCLAIM %s workers heir 0 0 COUNT 100", key);
        size_t n = r->element[1]->elements;
        work(r->element[1], n);
        freeReplyObject(r);
        if (n == 0) return;
    }
}

static void *sleeper(void *reply) {
    redisContext *c = dial();
    *(redisReply **)reply = redisCommand(c, "XREADGROUP GROUP workers sleeper COUNT 5 BLOCK 30000 STREAMS %s >", key);
    redisFree(c);
    return NULL;
}

int main(int argc, char **argv) {
    key = argv[1], addrs = argv + 2, naddrs = argc - 2;
    freeReplyObject(must("XGROUP CREATE %s workers 0 MKSTREAM", key));
    for (int i = 0; i < 10; i++) add("before", i);

    /* The whole transaction in one write, as pipelining clients do. */
    redisReply *r = NULL;
    redisAppendCommand(client, "MULTI");
    redisAppendCommand(client, "XADD %s * v left-0", key);
    redisAppendCommand(client, "XADD %s * v right-0", key);
    redisAppendCommand(client, "EXEC");
    for (int i = 0; i < 4; i++) {
        if (r) freeReplyObject(r);
        if (redisGetReply(client, (void **)&r) != REDIS_OK) fail("transaction", client->errstr);
    }
    if (r->type != REDIS_REPLY_ARRAY || r->elements != 2) fail("EXEC", r->str ? r->str : "another shape");
    freeReplyObject(r);
    strcpy(sent[nsent++], "left-0");
    strcpy(sent[nsent++], "right-0");

    r = must("XREADGROUP GROUP workers quitter COUNT 5 BLOCK 30000 STREAMS %s >", key);
    if (r->type != REDIS_REPLY_ARRAY || r->element[0]->element[1]->elements < 2) fail("read", "too few entries");
    work(r->element[0]->element[1], 1);
    freeReplyObject(r);
    drain();

    pthread_t thread;
    redisReply *woken = NULL;
    pthread_create(&thread, NULL, sleeper, &woken);
    add("wake-up", 0);
    pthread_join(thread, NULL);
    if (!woken || woken->type != REDIS_REPLY_ARRAY) fail("blocked read", woken && woken->str ? woken->str : "nothing");
    work(woken->element[0]->element[1], 5);
    freeReplyObject(woken);

    puts("kill");
    fflush(stdout);
    char line[16];
    if (!fgets(line, sizeof line, stdin)) fail("kill", "no answer");
    for (int i = 0; i < 10; i++) add("after", i);
    drain();

    for (int k = 0; k < nsent; k++)
        if (!processed[k]) fail(sent[k], "was never processed");
    r = must("XPENDING %s workers", key);
    if (r->element[0]->integer != 0) fail("XPENDING", "not zero");
    freeReplyObject(r);
    r = must("XLEN %s", key);
    if (r->integer < nsent) fail("XLEN", "too few");
    freeReplyObject(r);
    redisFree(client);
    puts("done");
    return 0;
}
