/* What the parent's Python calls of C. Every function returns a negative errno on failure. */

/* The whole of starting pyrunc-init.
 * flags: CLONE_NEW* of new namespaces. cgroup_fd: directory for CLONE_INTO_CGROUP, or -1.
 * init_fd: sealed memfd of pyrunc-init. keep: descriptors that init inherits at their numbers.
 * preserve: descriptors 3..3+preserve-1 are inherited too. stdio: above 2, what becomes
 * descriptors 0, 1 and 2; -1 for the caller's own. raise_ambient: 1 when a user namespace is new.
 * Returns the pid (of the caller's pid namespace) and stores a close-on-exec pidfd. On failure, at: the call
 * that was refused: 0 clone3, 1 close_range, 2 capset or prctl, 3 execveat. */
int pyrunc_spawn(unsigned long long flags, int cgroup_fd, int init_fd, int plan_fd, const int *keep, int nkeep,
                 int preserve, const int *stdio, int raise_ambient, int *pidfd, int *at);

/* A sealed memfd with these bytes. executable: 1 for pyrunc-init, 0 for a plan. Returns the descriptor. */
int pyrunc_sealed_memfd(const char *name, const char *bytes, size_t size, int executable);

/* open_tree(OPEN_TREE_CLONE) of a host path, close-on-exec. recursive: 1 for rbind. follow: 1 to follow a last link. */
int pyrunc_open_tree(const char *path, int recursive, int follow);

/* mount_setattr(MOUNT_ATTR_IDMAP) on a detached tree with the user namespace of userns_fd. */
int pyrunc_idmap(int tree_fd, int userns_fd, int recursive);

/* A user namespace with these maps (the text of uid_map and gid_map), for id-mapped mounts. Nobody is in it. */
int pyrunc_user_namespace(const char *uid_map, const char *gid_map);

/* openat2 with RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS below dir_fd. */
int pyrunc_open_in_root(int dir_fd, const char *path, int flags);

/* Raise the hard limit of a process if it is lower: what a user namespace can't do for itself. */
int pyrunc_raise_limit(int pid, int resource, unsigned long long hard);

/* umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) */
int pyrunc_detach(const char *path);

/* Attach (or replace) the one device program of a cgroup v2. insns: 8 bytes each. */
int pyrunc_cgroup_device(int cgroup_fd, const char *insns, int count);

int pyrunc_setns(int fd, int nstype);

/* Write the snapshot to fd; files: paths, one a line, that make it stale when they change. Returns 0. In the image
 * it returns 1, with the launcher's argc, argv and envp. */
int pyrunc_snapshot(int fd, const char *path, const char *files, long *argc, char ***argv, char ***envp);
