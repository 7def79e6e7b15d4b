/* Load with known totals, and the floor to compare with.

       load send ADDRESS PORT RATE SECONDS LINES NAMES TAGS MIX    UDP datagrams; one JSON line of what was sent
       load floor PORT BUFFER                                      recv and throw away; one JSON line of what it cost

   RATE is in datagrams per second (0: as fast as it goes), LINES per datagram, TAGS 0 or 1. MIX is "mixed" (of the
   names 70 % counters of 1, 20 % timers, 10 % gauges, as in most traffic) or "timers" (every line another value).
   All datagrams are made before the first is sent. `floor` ends 1 s after the last datagram. */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

#define BURST 64

static double now(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return at.tv_sec + at.tv_nsec / 1e9;
}

static int write_line(char *to, long name, long serial, int tags, int timers) {
    const char *end = tags ? "|#env:prod,service:checkout,region:eu-west-1" : "";
    long kind = timers ? 7 : name % 10;
    if (kind < 7) return sprintf(to, "web.requests.n%06ld.hits:1|c%s", name, end);
    if (kind < 9 && timers) return sprintf(to, "web.requests.n%06ld.took:%ld.%03ld|ms%s", name, serial / 1000, serial % 1000, end);
    if (kind < 9) return sprintf(to, "web.requests.n%06ld.took:%ld|ms%s", name, random() % 1000, end);
    return sprintf(to, "web.requests.n%06ld.size:%ld|g%s", name, random() % 100000, end);
}

static int send_load(char **argument) {
    double rate = atof(argument[2]), seconds = atof(argument[3]);
    long lines = atol(argument[4]), names = atol(argument[5]), sent = 0;
    int tags = atoi(argument[6]), timers = !strcmp(argument[7], "timers");
    long pool = (timers ? 2000000 : names * 10 > 200000 ? names * 10 : 200000) / lines;
    char *text = malloc(pool * lines * 128 + 1), *at = text;
    struct iovec *parts = calloc(pool + BURST, sizeof *parts);
    struct mmsghdr *messages = calloc(pool + BURST, sizeof *messages);
    long *order = malloc(names * sizeof *order);
    srandom(1);
    for (long i = 0; i < names; i++) {  /* shuffled, so that neighbours in memory are not neighbours in time */
        long j = random() % (i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    for (long i = 0; i < pool; i++) {
        char *begin = at;
        for (long each = 0; each < lines; each++) {
            if (each) *at++ = '\n';
            long serial = i * lines + each;
            at += write_line(at, order[serial % names], serial, tags, timers);
        }
        parts[i] = (struct iovec){begin, at - begin};
    }
    for (long i = 0; i < pool + BURST; i++) {  /* the first BURST once more at the end: a burst needs no wrapping */
        if (i >= pool) parts[i] = parts[i % pool];
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argument[1]))};
    inet_pton(AF_INET, argument[0], &to.sin_addr);
    int out = socket(AF_INET, SOCK_DGRAM, 0);
    if (connect(out, (struct sockaddr *)&to, sizeof to)) return perror("connect"), 1;
    double begin = now(), elapsed = 0;
    long all = rate > 0 ? (long)(rate * seconds) : -1;
    while ((elapsed = now() - begin) < seconds + 1 && (all < 0 ? elapsed < seconds : sent < all)) {
        long due = rate > 0 ? (long)(rate * elapsed) + 1 - sent : BURST;
        if (all >= 0 && due > all - sent) due = all - sent;
        if (due <= 0) {
            nanosleep(&(struct timespec){0, 100000}, NULL);
            continue;
        }
        int done = sendmmsg(out, messages + sent % pool, due < BURST ? due : BURST, 0);
        if (done > 0) sent += done;  /* a refusal (nobody listens yet) is not sent */
    }
    printf("{\"datagrams\":%ld,\"lines\":%ld,\"seconds\":%.3f}\n", sent, sent * lines, now() - begin);
    return 0;
}

static int floor_cost(char **argument) {
    static char buffer[65536];
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(atoi(argument[0]))};
    struct timeval patience = {30, 0}, silence = {1, 0};
    int size = atoi(argument[1]), in = socket(AF_INET, SOCK_DGRAM, 0);
    here.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (setsockopt(in, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size))
        setsockopt(in, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(in, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    if (bind(in, (struct sockaddr *)&here, sizeof here)) return perror("bind"), 1;
    puts("ready");
    fflush(stdout);
    long datagrams = recv(in, buffer, sizeof buffer, 0) >= 0;
    setsockopt(in, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence);
    while (recv(in, buffer, sizeof buffer, 0) >= 0) datagrams++;
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu_s = used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    printf("{\"datagrams\":%ld,\"cpu_s\":%.6f}\n", datagrams, cpu_s);
    return 0;
}

int main(int count, char **argument) {
    if (count == 10 && !strcmp(argument[1], "send")) return send_load(argument + 2);
    if (count == 4 && !strcmp(argument[1], "floor")) return floor_cost(argument + 2);
    return fputs("see the comment at the top of load.c\n", stderr), 2;
}
