/* SPDX-License-Identifier: Apache-2.0
 *
 * kill.c: processes are killed (SIGKILL) at random moments of a save. Afterwards the path must hold the old model or
 * the new one, byte for byte, and load with its hash; and the next save must leave nothing else in the folder. usage:
 * soma-kill FOLDER KILLS SEED; the folder is empty
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <soma/soma.h>

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MODELS 2
#define LONGEST 255 /* bytes of a name */

typedef struct bytes {
    char *data;
    size_t size;
} bytes;

typedef struct place {
    const char *name;
    char path[900]; /* that is saved to */
    char file[900]; /* that holds the model */
    bool fresh;     /* there is no old file */
} place;

static soma *s;
static soma_model *models[MODELS];
static bytes contents[MODELS];
static uint64_t state;

static int give_up(const char *what)
{
    printf("soma-kill: %s: %s\n", what, soma_error(s));
    exit(2);
}

/* In [0, 1). xorshift64 (Marsaglia 2003). */
static double draw(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (double)(state >> 11) * 0x1p-53;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void pause_for(double seconds)
{
    struct timespec t = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

static bytes read_file(const char *path)
{
    bytes b = {NULL, 0};
    struct stat st;
    FILE *file = fopen(path, "rb");
    if (file && !fstat(fileno(file), &st) && (b.data = malloc((size_t)st.st_size + 1)))
        b.size = fread(b.data, 1, (size_t)st.st_size + 1, file);
    if (file)
        fclose(file);
    return b;
}

/* Which model the file is, byte for byte; -1: none, -2: there is no file. */
static int which(const char *path)
{
    bytes b = read_file(path);
    int found = b.data ? -1 : -2;
    for (int i = 0; i < MODELS && b.data; i++)
        if (b.size == contents[i].size && !memcmp(b.data, contents[i].data, b.size))
            found = i;
    free(b.data);
    return found;
}

static int count(const char *folder)
{
    DIR *d = opendir(folder);
    int n = -2; /* . and .. */
    while (d && readdir(d))
        n++;
    if (d)
        closedir(d);
    return n;
}

static void make_models(const char *folder)
{
    char path[800];
    snprintf(path, sizeof path, "%s/sample.safetensors", folder);
    s = soma_open(&(soma_context_options){.struct_size = sizeof(soma_context_options), .threads = 1});
    for (int i = 0; i < MODELS; i++) {
        soma_model *m = models[i] = soma_model_new(s, "kill");
        soma_value x = soma_input(m, "x", SOMA_F32, SOMA_SHAPE(300));
        for (int layer = 0; layer < 2; layer++)
            x = soma_dense(x, .units = 400, .activation = "relu");
        soma_output(m, "y", x);
        if (soma_initialize(m, (uint64_t)i + 1) != SOMA_OK || soma_save(m, path) != SOMA_OK)
            give_up("making the models");
        contents[i] = read_file(path);
    }
    unlink(path);
}

/* A process that says when it begins, saves and ends. */
static pid_t start(const place *p, int model)
{
    int ends[2];
    char letter;
    if (pipe(ends))
        give_up("pipe");
    pid_t child = fork();
    if (!child) {
        if (write(ends[1], "x", 1) != 1)
            _exit(2);
        _exit(soma_save(models[model], p->path) == SOMA_OK ? 0 : 1);
    }
    if (child < 0 || read(ends[0], &letter, 1) != 1)
        give_up("fork");
    close(ends[0]);
    close(ends[1]);
    return child;
}

static double seconds_of_a_save(const place *p)
{
    double longest = 0;
    for (int i = 0; i < 5; i++) {
        int status;
        double begun = now();
        pid_t child = start(p, 0);
        if (waitpid(child, &status, 0) != child || status)
            give_up("a save that nobody killed");
        double seconds = now() - begun;
        longest = seconds > longest ? seconds : longest;
    }
    return longest;
}

typedef struct tally {
    int kills, old, new, left, finished, torn, stayed;
} tally;

static bool kill_once(const char *folder, const place *p, double seconds, int *old, tally *t)
{
    int status, files = p->fresh ? 0 : 1, links = strcmp(p->path, p->file) != 0;
    if (p->fresh) {
        unlink(p->file);
        *old = -2;
    }
    int fresh = *old == 0 ? 1 : 0;
    pid_t child = start(p, fresh);
    pause_for(draw() * seconds);
    kill(child, SIGKILL);
    if (waitpid(child, &status, 0) != child)
        give_up("waitpid");
    if (!WIFSIGNALED(status)) {
        t->finished++;
        *old = which(p->file);
        return false;
    }
    t->kills++;
    int now_there = which(p->file);
    t->old += now_there == *old;
    t->new += now_there == fresh;
    t->torn += now_there != *old && now_there != fresh;
    t->left += count(folder) > files + links;
    if (now_there >= 0) {
        soma_model *m = soma_load(s, p->path);
        if (!m)
            give_up("loading what is there");
        soma_model_free(m);
    }
    if (soma_save(models[0], p->path) != SOMA_OK)
        give_up("the next save");
    *old = which(p->file);
    t->stayed += count(folder) != 1 + links || *old != 0;
    return true;
}

static void kill_at(const char *folder, const place *p, int kills)
{
    tally t = {0};
    if (soma_save(models[0], p->path) != SOMA_OK)
        give_up("the first save");
    double seconds = seconds_of_a_save(p);
    int old = which(p->file);
    for (int i = 0; t.kills < kills && i < 20 * kills; i++)
        kill_once(folder, p, seconds, &old, &t);
    printf("%-40s %3d kills within %.1f ms: %d old, %d new, %d torn; %d left a temporary file, %d still there after "
           "the next "
           "save (%d finished before)\n",
           p->name, t.kills, 1e3 * seconds, t.old, t.new, t.torn, t.left, t.stayed, t.finished);
    printf("result %d %d %d %d\n", t.kills, t.torn, t.stayed, t.left);
    unlink(p->file);
    unlink(p->path);
}

int main(int argc, char **argv)
{
    if (argc != 4) {
        printf("usage: soma-kill FOLDER KILLS SEED\n");
        return 2;
    }
    const char *folder = argv[1];
    int kills = atoi(argv[2]);
    char name[LONGEST + 1];
    state = (strtoull(argv[3], NULL, 10) + 1) * 0x9E3779B97F4A7C15u;
    make_models(folder);
    place replaced = {.name = "a file that is replaced"}, fresh = {.name = "a new file", .fresh = true};
    place linked = {.name = "a link to a file"}, longest = {.name = "a name of 255 bytes"};
    snprintf(replaced.path, sizeof replaced.path, "%s/model.safetensors", folder);
    strcpy(replaced.file, replaced.path);
    strcpy(fresh.path, replaced.path);
    strcpy(fresh.file, replaced.path);
    snprintf(linked.path, sizeof linked.path, "%s/link", folder);
    snprintf(linked.file, sizeof linked.file, "%s/target.safetensors", folder);
    memset(name, 'n', LONGEST);
    name[LONGEST] = 0;
    snprintf(longest.path, sizeof longest.path, "%s/%s", folder, name);
    strcpy(longest.file, longest.path);
    kill_at(folder, &replaced, kills - 3 * (kills / 5));
    kill_at(folder, &fresh, kills / 5);
    if (symlink("target.safetensors", linked.path))
        give_up("symlink");
    kill_at(folder, &linked, kills / 5);
    kill_at(folder, &longest, kills / 5);
    soma_close(s);
    for (int i = 0; i < MODELS; i++)
        free(contents[i].data);
    return 0;
}
