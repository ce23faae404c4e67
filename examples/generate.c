// A prompt in, text out: generate MODEL.gguf "Once upon a time"
#include <hearth/hearth.h>
#include <stdio.h>
#include <string.h>

static int32_t print_text(void* user, int32_t token, const char* text, size_t bytes) {
  (void)user, (void)token;
  fwrite(text, 1, bytes, stdout);
  return fflush(stdout);  // a reader that has gone stops the generation
}

static int failed(const char* what) {
  fprintf(stderr, "generate: %s: %s\n", what, hearth_message());
  return 1;
}

int main(int argc, char** argv) {
  int32_t tokens[1024];
  size_t count;
  hearth_engine* engine;
  hearth_session* session;
  hearth_generation generation = {0};
  generation.size = sizeof generation;
  generation.most_tokens = 64;
  if (argc != 3) return fprintf(stderr, "usage: generate MODEL.gguf PROMPT\n"), 2;

  if (hearth_engine_open(argv[1], NULL, &engine)) return failed(argv[1]);
  if (hearth_session_open(engine, &session)) return failed("session");
  if (hearth_tokenize(engine, argv[2], strlen(argv[2]), HEARTH_ADD_SPECIAL, tokens, 1024, &count))
    return failed("prompt");
  if (count > 1024) return fprintf(stderr, "generate: the prompt is too long\n"), 1;
  if (hearth_session_evaluate(session, tokens, count, NULL)) return failed("prompt");
  if (hearth_session_generate(session, &generation, print_text, NULL, NULL))
    return failed("generation");
  printf("\n");
  hearth_session_close(session);
  hearth_engine_close(engine);
  return 0;
}
