/* SPDX-License-Identifier: Apache-2.0 */
#include "sim/cli/gnuplot.h"

#include <errno.h>
#include <spawn.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

void gnuplot_quoted(FILE *gp, const char *text)
{
    fputc('\'', gp);
    for (; *text; text++) {
        fputs(*text == '\'' ? "''" : (char[]){*text, '\0'}, gp);
    }
    fputc('\'', gp);
}

/* Okabe and Ito's colours, told apart with any colour vision, in an order of changing lightness, each with
 * dashes and a point of its own so that a grey print can be read, too. */
void gnuplot_style(FILE *gp)
{
    static const char *const colour[GNUPLOT_LINES] = {"#000000", "#d55e00", "#0072b2", "#e69f00",
                                                      "#009e73", "#cc79a7", "#56b4e9", "#7f7f7f",
                                                      "#8b4513", "#4b0082"};
    static const int dash[GNUPLOT_LINES] = {1, 2, 4, 5, 3, 2, 4, 5, 3, 2};
    static const int mark[GNUPLOT_LINES] = {7, 5, 9, 11, 13, 6, 4, 8, 10, 12};

    for (int i = 0; i < GNUPLOT_LINES; i++) {
        fprintf(gp, "set linetype %d lc rgb '%s' dt %d pt %d lw 1.6 ps 1.1\n", i + 1, colour[i], dash[i],
                mark[i]);
    }
    fputs("set border 3 lc rgb '#444444'\nset tics nomirror out\n"
          "set grid back lc rgb '#dcdcdc' lt 1 lw 0.6\n"
          "set key outside below center horizontal samplen 4 spacing 1.15 height 1\n"
          "set encoding utf8\n", gp);
}

void gnuplot_terminal(FILE *gp, const char *name, bool svg, int width, int height)
{
    if (svg) {
        fprintf(gp, "\nset terminal svg noenhanced size %d,%d dynamic font 'DejaVu Sans,15' "
                    "background 'white'\n", width, height);
    } else {
        fprintf(gp, "\nset terminal pngcairo noenhanced size %d,%d font 'DejaVu Sans,15' "
                    "background 'white'\n", width, height);
    }
    fprintf(gp, "set output '%s.%s'\n", name, svg ? "svg" : "png");
}

extern char **environ;

static int spawn_gnuplot(const char *folder, const char *script, pid_t *ret)
{
    char *const args[] = {(char *)"gnuplot", (char *)script, NULL};
    posix_spawn_file_actions_t actions;

    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addchdir_np(&actions, folder);
    int rc = posix_spawnp(ret, "gnuplot", &actions, NULL, args, environ);
    posix_spawn_file_actions_destroy(&actions);
    return rc;
}

int gnuplot_run(const char *folder, const char *name, struct arena *ar, struct err *e)
{
    pid_t pid = 0;
    int status = 0;
    const char *script = arena_printf(ar, "%s.gp", name);

    if (!script) {
        return err_set(e, SIM_E_NOMEM, "out of memory while plotting");
    }
    fflush(stdout);
    int rc = spawn_gnuplot(folder, script, &pid);
    if (rc != 0) {
        return err_set(e, SIM_E_IO, "gnuplot cannot be started (%s): install the package gnuplot-nox "
                                    "(apt install gnuplot-nox); data and scripts are in %s",
                       strerror(rc), folder);
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        return err_set(e, SIM_E_IO, "gnuplot failed on %s/%s.gp", folder, name);
    }
    return 0;
}

int gnuplot_folder(const char *folder, struct err *e)
{
    struct stat st;

    if (mkdir(folder, 0777) == 0 || (stat(folder, &st) == 0 && S_ISDIR(st.st_mode))) {
        return 0;
    }
    return err_set(e, SIM_E_IO, "%s: %s", folder, strerror(errno == EEXIST ? ENOTDIR : errno));
}
