import { Injectable, OnModuleInit } from '@nestjs/common';
import { Pool } from 'pg';

interface Draft {
  title: string;
  message: string;
  created_by: string;
}

/** One INSERT a notification, as an ORM would write it, on a pool of ten connections. */
@Injectable()
export class Store implements OnModuleInit {
  private readonly pool = new Pool({ connectionString: process.env.DATABASE_URL, max: 10 });

  async onModuleInit() {
    await this.pool.query(`CREATE TABLE IF NOT EXISTS nest_notifications (
      id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, title text NOT NULL, message text NOT NULL,
      created_by text NOT NULL, created_at timestamptz NOT NULL DEFAULT now(), read_at timestamptz)`);
    await this.pool.query('CREATE INDEX IF NOT EXISTS nest_notifications_user ON nest_notifications (created_by, id)');
  }

  async insert(d: Draft) {
    const { rows } = await this.pool.query({
      name: 'insert', // prepared once a connection
      text: `INSERT INTO nest_notifications (title, message, created_by) VALUES ($1, $2, $3)
             RETURNING id, title, message, created_by, created_at, read_at`,
      values: [d.title, d.message, d.created_by],
    });
    return rows[0];
  }
}
