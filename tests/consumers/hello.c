/* A program in C outside of the tree: what it was compiled with is what it runs with, and a call
   that must fail does so with its status and a message. */
#include <hearth/hearth.h>

#include <stdio.h>
#include <string.h>

int main(void) {
  char header[32];
  sprintf(header, "%d.%d.%d", HEARTH_VERSION_MAJOR, HEARTH_VERSION_MINOR, HEARTH_VERSION_PATCH);
  if (strcmp(header, hearth_version()) != 0) {
    fprintf(stderr, "header %s, library %s\n", header, hearth_version());
    return 1;
  }
  printf("hello from %s\n", hearth_version());
  return strcmp(hearth_status_name(HEARTH_ERROR_BUDGET), "HEARTH_ERROR_BUDGET") != 0;
}
