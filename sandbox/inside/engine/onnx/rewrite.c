#include "sandbox/inside/engine/onnx/session.h"
int plan_rewrite(struct plan *p) { (void)p; return 0; }
int plan_lower(struct plan *p) {
	for (uint32_t i = 0; i < p->n_steps; i++) {
		struct step *s = p->steps[i];
		if (s->op && s->op->flags & OP_VIEW && s->in[0]->kind == K_RUN) s->out[0]->root = s->in[0];
		for (uint32_t k = 0; k < s->n_in; k++)
			if (s->in[k] && s->in[k]->kind == K_CONST && !plan_data(p, s->in[k])) return ERR_LIMIT;
	}
	for (uint32_t i = 0; i < p->m->n_outputs; i++)
		if (p->outputs[i]->kind == K_CONST && !plan_data(p, p->outputs[i])) return ERR_LIMIT;
	return 0; }
