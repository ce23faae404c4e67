/* The header in the C of 1999, all of its warnings being errors. */
#include <hearth/hearth.h>

typedef void (*function)(void);

/* Every function, so that one which is declared but not there is missed by the linker. */
const function hearth_c99_functions[] = {
    (function)hearth_status_name,
    (function)hearth_message,
    (function)hearth_version,
    (function)hearth_engine_open,
    (function)hearth_engine_close,
    (function)hearth_engine_facts_of,
    (function)hearth_engine_set_expert_ram,
    (function)hearth_tokenize,
    (function)hearth_detokenize,
    (function)hearth_token_ends,
    (function)hearth_chat_prompt,
    (function)hearth_session_open,
    (function)hearth_session_close,
    (function)hearth_session_message,
    (function)hearth_session_evaluate,
    (function)hearth_session_evaluate_each,
    (function)hearth_session_generate,
    (function)hearth_session_cancel,
    (function)hearth_session_tokens,
    (function)hearth_session_rewind,
    (function)hearth_session_save,
    (function)hearth_session_load,
    (function)hearth_session_on_routing,
    (function)hearth_session_record,
    (function)hearth_session_times_of,
    (function)hearth_profile_make,
    (function)hearth_profile_load,
    (function)hearth_profile_save,
    (function)hearth_profile_close,
    (function)hearth_profile_tokens,
    (function)hearth_profile_uses,
    (function)hearth_plan_make,
    (function)hearth_plan_load,
    (function)hearth_plan_save,
    (function)hearth_plan_close,
    (function)hearth_plan_facts_of,
    (function)hearth_engine_telemetry,
    (function)hearth_engine_layer_telemetry,
};
const unsigned hearth_c99_function_count = sizeof hearth_c99_functions / sizeof(function);
