/* What the launcher's parts share. */
#ifndef PYRUNC_LAUNCHER_H
#define PYRUNC_LAUNCHER_H

#include "sys.h"

#define SNAPSHOT_NAME "/pyrunc/pyrunc.snapshot" /* below the directory that holds the package */

/* Goes on in the snapshot at this path if it is good for us; returns if it is not. Once it has begun to map
 * it, the only way on is execve. */
void try_snapshot(const char *path, long argc, char **argv, char **envp);

#endif
