/* A program in C outside of the tree: hello MODEL.gguf. What it was compiled with is what it runs
   with, and it says which token the model likes best after three others. */
#include <hearth/experts.h>
#include <hearth/hearth.h>
#include <hearth/recording.h>
#include <stdio.h>
#include <string.h>

static int failed(const char* what) {
  fprintf(stderr, "hello: %s: %s\n", what, hearth_message());
  return 1;
}

int main(int argc, char** argv) {
  const int32_t tokens[] = {10, 131, 47};
  char header[32];
  hearth_engine* engine;
  hearth_session* session;
  hearth_engine_options options = {0};
  hearth_engine_facts facts = {0};
  const float* logits;
  uint32_t best = 0, i;
  options.size = sizeof options;
  options.context = 64;
  options.threads = 1;
  facts.size = sizeof facts;
  if (argc != 2) return fprintf(stderr, "usage: hello MODEL.gguf\n"), 2;

  sprintf(header, "%d.%d.%d", HEARTH_VERSION_MAJOR, HEARTH_VERSION_MINOR, HEARTH_VERSION_PATCH);
  if (strcmp(header, hearth_version()) != 0) {
    fprintf(stderr, "hello: header %s, library %s\n", header, hearth_version());
    return 1;
  }
  if (hearth_engine_open(argv[1], &options, &engine)) return failed(argv[1]);
  if (hearth_session_open(engine, &session)) return failed("session");
  if (hearth_engine_facts_of(engine, &facts)) return failed("facts");
  if (hearth_session_evaluate(session, tokens, 3, &logits)) return failed("tokens");
  for (i = 1; i < facts.vocabulary; ++i)
    if (logits[i] > logits[best]) best = i;
  printf("hello from %s, token %u\n", hearth_version(), (unsigned)best);
  hearth_session_close(session);
  return hearth_engine_close(engine) != HEARTH_OK;
}
